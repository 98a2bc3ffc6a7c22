//! Replies that are lost, commands that come late, servers that hang.
