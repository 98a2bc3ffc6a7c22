//! The network between broker and database.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the network when the broker sends what a trap waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What is sent gets lost, and so does everything from then on.
    Lost,
    /// What is sent arrives, and nothing from then on.
    ReplyLost,
    /// What is sent arrives, and that connection breaks.
    Broken,
    /// What is sent arrives only when the network is healed; other connections are as they were.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    Up,
    Cut,
}

/// Passes on what broker and database say, or does not.
pub struct Proxy {
    pub port: u16,
    wires: Arc<Wires>,
}

struct Wires {
    database: u16,
    net: watch::Sender<Net>,
    trap: Mutex<Option<(&'static str, Fault)>>,
    sprung: watch::Sender<u64>,
    /// How often it was healed.
    healed: watch::Sender<u64>,
    /// How often the broker has said something.
    said: watch::Sender<u64>,
}

impl Proxy {
    pub async fn start(database: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wires = Arc::new(Wires {
            database,
            net: watch::Sender::new(Net::Up),
            trap: Mutex::new(None),
            sprung: watch::Sender::new(0),
            healed: watch::Sender::new(0),
            said: watch::Sender::new(0),
        });
        let accepting = Arc::clone(&wires);
        tokio::spawn(async move {
            while let Ok((broker, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).connection(broker));
            }
        });
        Self { port, wires }
    }

    /// Does it once the broker sends this text; what is returned is notified of that.
    pub fn trap(&self, text: &'static str, fault: Fault) -> watch::Receiver<u64> {
        let mut sprung = self.wires.sprung.subscribe();
        sprung.mark_unchanged();
        *self.wires.trap.lock().unwrap() = Some((text, fault));
        sprung
    }

    /// As after a cable was plugged in again: what was connected is not any more.
    pub fn heal(&self) {
        self.wires.net.send_replace(Net::Up);
        self.wires.healed.send_modify(|count| *count += 1);
    }

    pub fn cut(&self) {
        self.wires.net.send_replace(Net::Cut);
    }

    pub fn said(&self) -> watch::Receiver<u64> {
        self.wires.said.subscribe()
    }
}

impl Wires {
    async fn connection(self: Arc<Self>, broker: TcpStream) {
        let mut net = self.net.subscribe();
        if *net.borrow_and_update() == Net::Up {
            let Ok(database) = TcpStream::connect(("127.0.0.1", self.database)).await else {
                return;
            };
            let (from_broker, to_broker) = broker.into_split();
            let (from_database, to_database) = database.into_split();
            tokio::select! {
                biased;
                () = self.replies(from_database, to_broker) => return,
                () = self.requests(from_broker, to_database) => return,
                _ = net.wait_for(|net| *net == Net::Cut) => {}
            }
            // Neither side learns of the other's end.
            let _ = net.wait_for(|net| *net == Net::Up).await;
            return;
        }
        let _ = net.wait_for(|net| *net == Net::Up).await;
        drop(broker);
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let said = &buffer[..length];
            self.said.send_modify(|count| *count += 1);
            let fault = self.springs(said);
            if matches!(fault, Some(Fault::Lost | Fault::ReplyLost)) {
                self.net.send_replace(Net::Cut);
            }
            let mut healed = self.healed.subscribe();
            if fault.is_some() {
                self.sprung.send_modify(|count| *count += 1);
            }
            if fault == Some(Fault::Late) {
                let _ = healed.changed().await;
            }
            if fault != Some(Fault::Lost) && to.write_all(said).await.is_err() {
                return;
            }
            match fault {
                Some(Fault::Broken) => return,
                Some(Fault::Lost | Fault::ReplyLost) => return std::future::pending().await,
                Some(Fault::Late) | None => {}
            }
        }
    }

    async fn replies(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if *self.net.borrow() == Net::Cut {
                return std::future::pending().await;
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
        if *self.net.borrow() == Net::Cut {
            std::future::pending().await
        }
    }

    fn springs(&self, said: &[u8]) -> Option<Fault> {
        let mut trap = self.trap.lock().unwrap();
        let (text, fault) = (*trap)?;
        let heard = said.windows(text.len()).any(|part| part == text.as_bytes());
        if heard {
            *trap = None;
        }
        heard.then_some(fault)
    }
}
