//! `multipart/form-data`, as clients send it to get long queries and parameters out of the URL.
//!
//! Fields only. A part with a file name is an external table, which the engine refuses by name.

use crate::exception::{Exception, code};

/// The fields of a complete body: names and values, in order.
pub(crate) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let wrong =
        |what: &str| Exception::new(code::BAD_ARGUMENTS, format_args!("Malformed multipart body: {what}"));
    let delimiter = format!("--{boundary}").into_bytes();
    let mut rest = body.strip_prefix(b"\r\n").unwrap_or(body);
    rest = rest
        .strip_prefix(delimiter.as_slice())
        .ok_or_else(|| wrong("it does not begin with its boundary"))?;
    let closing = [b"\r\n", delimiter.as_slice()].concat();
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or_else(|| wrong("no line end after a boundary"))?;
        let head_end = find(rest, b"\r\n\r\n").ok_or_else(|| wrong("a part's head does not end"))?;
        let (head, after) = (&rest[..head_end], &rest[head_end + 4..]);
        let value_end = find(after, &closing).ok_or_else(|| wrong("a part does not end"))?;
        let head = String::from_utf8_lossy(head);
        let disposition = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
            .ok_or_else(|| wrong("a part has no name"))?;
        if attribute(disposition, "filename").is_some() {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "External tables are not implemented in the engine",
            ));
        }
        let name = attribute(disposition, "name").ok_or_else(|| wrong("a part has no name"))?;
        let value =
            String::from_utf8(after[..value_end].to_vec()).map_err(|_| wrong("a value is not UTF-8"))?;
        fields.push((name.to_owned(), value));
        rest = &after[value_end + closing.len()..];
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn attribute<'h>(disposition: &'h str, name: &str) -> Option<&'h str> {
    disposition.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT\r\n1\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"param_x\"\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n";
        let want = [("query", "SELECT\r\n1"), ("param_x", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(fields(body.as_bytes(), "b").unwrap(), want);
        let file =
            "--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t.tsv\"\r\n\r\n1\r\n--b--\r\n";
        assert_eq!(fields(file.as_bytes(), "b").unwrap_err().code, 48);
    }

    proptest! {
        #[test]
        fn noise_is_an_error_and_never_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&body, "boundary").is_err());
        }
    }
}
