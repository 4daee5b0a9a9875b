//! Just enough of an HTTP/1.1 reader to know where an answer ends.

/// Where in an answer the bytes stand.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// That many body bytes are to come.
    Body(u64),
    ChunkSize,
    /// Data of a chunk and the line end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailer,
}

/// Reads one answer after the other from one connection.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    at: At,
    pending: Vec<u8>,
    status: u16,
}

impl Reply {
    /// Takes what arrived; the status of the answer once it is complete.
    ///
    /// # Errors
    /// Bytes that are no answer.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<u16>, String> {
        loop {
            match self.at {
                At::Body(left) | At::Chunk(left) if left > 0 => {
                    let n = left.min(bytes.len() as u64);
                    bytes = bytes.get(usize::try_from(n).unwrap_or(usize::MAX)..).unwrap_or_default();
                    self.skip(n);
                    if left > n {
                        return Ok(None);
                    }
                }
                At::Body(_) => return self.done(bytes),
                At::Chunk(_) => self.at = At::ChunkSize,
                At::Head => {
                    self.pending.extend_from_slice(bytes);
                    let taken = std::mem::take(&mut self.pending);
                    let Some(used) = self.head(&taken)? else {
                        self.pending = taken;
                        return Ok(None);
                    };
                    return self.feed(taken.get(used..).unwrap_or_default());
                }
                At::ChunkSize | At::Trailer => match self.line(&mut bytes)? {
                    None => return Ok(None),
                    Some(true) => return self.done(bytes),
                    Some(false) => {}
                },
            }
        }
    }

    fn skip(&mut self, n: u64) {
        match &mut self.at {
            At::Body(left) | At::Chunk(left) => *left -= n,
            _ => {}
        }
    }

    fn done(&mut self, rest: &[u8]) -> Result<Option<u16>, String> {
        self.at = At::Head;
        if rest.is_empty() { Ok(Some(self.status)) } else { Err("bytes behind the answer".to_owned()) }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(used) = head.parse(bytes).map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        self.status = head.code.unwrap_or(0);
        let value =
            |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
        let length =
            value("content-length").and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok());
        self.at = match length {
            Some(n) => At::Body(n),
            None if value("transfer-encoding").is_some() => At::ChunkSize,
            None => At::Body(0),
        };
        Ok(Some(used))
    }

    /// One line of chunked coding: `None` if it is not complete, `Some(true)` at the end of the body.
    fn line(&mut self, bytes: &mut &[u8]) -> Result<Option<bool>, String> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            self.pending.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        };
        self.pending.extend_from_slice(bytes.get(..end).unwrap_or_default());
        *bytes = bytes.get(end + 1..).unwrap_or_default();
        let line = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if self.at == At::Trailer {
            return Ok(Some(text.is_empty()));
        }
        let size = u64::from_str_radix(text, 16).map_err(|_| format!("'{text}' is no chunk size"))?;
        self.at = if size == 0 { At::Trailer } else { At::Chunk(size + 2) };
        Ok(Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_end_however_they_are_cut() {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nb\r\nhello world\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ];
        for step in [1, 3, 1000] {
            let mut reply = Reply::default();
            for answer in answers {
                let ends: Vec<_> = answer.as_bytes().chunks(step).map(|c| reply.feed(c).unwrap()).collect();
                let (last, before) = ends.split_last().unwrap();
                assert!(last.is_some() && before.iter().all(Option::is_none), "{answer}");
            }
        }
    }
}
