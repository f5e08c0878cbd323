//! Malformed requests: each is refused with one sentence.

use super::client::{connect, get, read, request, wait_for};
use super::limits::{limits, start};
use ninc::serve::Limits;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn what_is_not_http_is_told_so() {
    let server = start(limits());
    let fields = "A: b\r\n".repeat(101);
    let cases = [
        (400, "this is not a request of HTTP/1.1", "nonsense\r\n\r\n".to_string()),
        (400, "this is not a request of HTTP/1.1", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n".into()),
        (400, "version", "GET / HTTP/3.0\r\n\r\n".into()),
        (404, "nothing at nowhere", "GET nowhere HTTP/1.1\r\nConnection: close\r\n\r\n".into()),
        (400, "header", "GET / HTTP/1.1\r\nno field\r\n\r\n".into()),
        (400, "content-length", "POST /classify HTTP/1.1\r\nContent-Length: many\r\n\r\n".into()),
        (400, "transfer-encoding", "POST /classify HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n".into()),
        (431, "more than 64 KiB or 100 fields", format!("GET / HTTP/1.1\r\n{fields}\r\n")),
        (431, "more than 64 KiB or 100 fields", format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(1 << 17))),
        (505, "speaks HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
    ];
    for (status, says, text) in &cases {
        let mut stream = connect(server.address);
        stream.write_all(text.as_bytes()).expect("sent");
        let answer = read(&mut stream);
        let said = answer.refused(*status);
        assert!(said.contains(says) && answer.head.contains("connection: close"), "{said}: {}", answer.head);
        drop(stream.shutdown(std::net::Shutdown::Write));
        assert_eq!(stream.read(&mut [0; 1]).expect("closed in order"), 0, "{text:.40}");
    }
    // Bodies that are none.
    let head = "POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    for (status, says, rest) in [
        (400, "the body of the request is broken: Invalid chunk size line", "\r\nzz\r\n"),
        (415, "the body is compressed", "Content-Encoding: gzip\r\n\r\n"),
    ] {
        let mut stream = connect(server.address);
        write!(stream, "{head}{rest}").expect("sent");
        let said = read(&mut stream).refused(status);
        assert!(said.contains(says), "{said}");
    }
    // Behind a request that is one.
    let mut stream = connect(server.address);
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\nnonsense\r\n\r\n").expect("sent");
    assert_eq!(read(&mut stream).status, 200);
    assert!(read(&mut stream).refused(400).contains("this is not a request"));
    let metrics = get(server.address, "/metrics").body;
    for (status, count) in [(400, 7), (404, 1), (431, 2), (505, 1)] {
        let line = format!("ninc_requests_total{{path=\"other\",status=\"{status}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    server.end();
}

/// A connection on which nothing more is asked ends without a word, whether the last body came with its head or after
/// it: a refusal would be taken for the answer to the next request.
#[test]
fn a_connection_that_is_kept_for_nothing_is_told_nothing() {
    let server = start(Limits { patience: Duration::from_secs(2), ..limits() });
    let whole = request("POST", "/classify", "", &[7; 100]);
    for parts in [&[whole.len()][..], &[whole.len() - 100, 40, 60]] {
        let mut stream = connect(server.address);
        let mut rest = &whole[..];
        for &part in parts {
            let (now, later) = rest.split_at(part);
            stream.write_all(now).expect("sent");
            rest = later;
            // The server has read this part before the next one comes.
            if !rest.is_empty() {
                wait_for(server.address, &format!("ninc_body_bytes {}", 100 - rest.len()));
            }
        }
        (0..13).for_each(|_| server.go.send(()).unwrap());
        assert_eq!(read(&mut stream).status, 200);
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("closed in order");
        assert_eq!(said, "");
    }
    let mut stream = connect(server.address);
    stream.write_all(&whole[..20]).expect("sent");
    assert!(read(&mut stream).refused(408).contains("the head of the request did not come within 2 seconds"));
    server.end();
}
