//! A wire to the server that can be held up.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes on what it gets, unless it is told to hold back what connections send from then on.
pub struct Proxy {
    pub port: u16,
    wire: Arc<Wire>,
}

struct Wire {
    /// From which connection on nothing is held back, by number.
    free_from: watch::Sender<u64>,
    /// How many bytes are held back.
    held: watch::Sender<usize>,
    /// How many connections there were.
    count: watch::Sender<u64>,
    /// How many of the held connections have passed their bytes on, late.
    late: watch::Sender<u64>,
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(Wire {
            free_from: watch::Sender::new(0),
            held: watch::Sender::new(0),
            count: watch::Sender::new(0),
            late: watch::Sender::new(0),
        });
        let for_all = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let number = *for_all.count.borrow();
                for_all.count.send_modify(|count| *count += 1);
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                let wire = Arc::clone(&for_all);
                tokio::spawn(async move { wire.pass(number, client_in, server_out).await });
                tokio::spawn(back(server_in, client_out));
            }
        });
        Self { port, wire }
    }

    /// Holds back what the connections that there are send from now on.
    pub fn hold(&self) {
        let count = *self.wire.count.borrow();
        self.wire.free_from.send_replace(count);
    }

    /// Waits until something is held back.
    pub async fn has_held(&self) {
        let mut held = self.wire.held.subscribe();
        held.wait_for(|bytes| *bytes > 0).await.unwrap();
    }

    /// Lets it go, and waits until it was handed to the server's side or could not be.
    pub async fn release(&self) {
        self.wire.free_from.send_replace(0);
        let mut late = self.wire.late.subscribe();
        late.wait_for(|count| *count > 0).await.unwrap();
    }

    pub fn connections(&self) -> u64 {
        *self.wire.count.borrow()
    }
}

impl Wire {
    async fn pass(&self, number: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut free = self.free_from.subscribe();
        let mut bytes = vec![0; 65536];
        loop {
            let count = from.read(&mut bytes).await.unwrap_or(0);
            let must_wait = *free.borrow() > number;
            if must_wait && count > 0 {
                self.held.send_modify(|held| *held += count);
                free.wait_for(|from| *from <= number).await.unwrap();
            }
            let written = to.write_all(&bytes[..count]).await;
            if must_wait && count > 0 {
                self.late.send_modify(|late| *late += 1);
            }
            if count == 0 || written.is_err() {
                return;
            }
        }
    }
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}
