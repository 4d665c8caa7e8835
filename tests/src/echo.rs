//! A server without a protocol on a backend host: it says its name and then what it is told, byte for byte. Health checks get their 200.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

use crate::lab::Lab;

/// Listens where the application of backend host `index` would, on a thread that lasts as long as the lab's process.
pub fn start(lab: &Lab, index: usize) -> Result<()> {
    let node = lab.backend(index);
    let listener = node.run(|| TcpListener::bind(lab.application(index)).context("listen"))?;
    let name = node.role().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = name.clone();
            // An error is a client that left.
            std::thread::spawn(move || serve(stream, &name).ok());
        }
    });
    Ok(())
}

fn serve(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let mut greeted = false;
    loop {
        let length = stream.read(&mut buffer)?;
        let bytes = &buffer[..length];
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.starts_with(b"GET /health ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        if bytes.starts_with(b"CONNECT ") {
            stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
            continue;
        }
        if !greeted {
            greeted = true;
            stream.write_all(format!("{name}:").as_bytes())?;
        }
        stream.write_all(bytes)?;
    }
}
