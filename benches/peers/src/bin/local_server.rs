//! The server that the clients of the suite `http` are measured against: one thread, HTTP/1.1, kept connections.
//!
//! `/N` is answered with N bytes, of which all are zero. It prints its port, and ends when its standard input does.

use std::io::{Read, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn main() -> std::io::Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Answers request after request; `None`: the client has gone, or sends what is no request.
async fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut asked = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut asked).await.ok()? == 0 {
                return None;
            }
        };
        let path = asked.split(|byte| *byte == b' ').nth(1)?;
        let mut left: usize = std::str::from_utf8(path).ok()?.trim_start_matches('/').parse().ok()?;
        asked.drain(..end);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\r\n");
        let mut answer = head.into_bytes();
        // A small answer leaves in one piece.
        let first = left.min(4 << 10);
        answer.extend_from_slice(&ZEROS[..first]);
        left -= first;
        stream.write_all(&answer).await.ok()?;
        while left > 0 {
            let piece = &ZEROS[..left.min(ZEROS.len())];
            stream.write_all(piece).await.ok()?;
            left -= piece.len();
        }
    }
}
