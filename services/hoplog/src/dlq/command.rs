//! Repairs a letter by a shell command: bytes in on standard input, bytes out on standard output, bounded in time and
//! size. Its complaints go to our own standard error.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event_log::PAYLOAD_BYTES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Longest time for one letter: an edit takes milliseconds, and a command that waits for something hangs for ever.
const WITHIN: Duration = Duration::from_secs(30);

/// What the command makes of the bytes.
///
/// # Errors
/// When it can't be started, fails, takes too long or says too much.
pub(super) async fn repair(command: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let (status, output) = tokio::time::timeout(WITHIN, run(command, bytes))
        .await
        .unwrap_or_else(|_| bail!("the command took longer than {} s", WITHIN.as_secs()))?;
    if output.len() > PAYLOAD_BYTES_MAX {
        bail!("the command printed more than {PAYLOAD_BYTES_MAX} bytes");
    }
    if !status.success() {
        bail!("the command failed: {status}");
    }
    Ok(output)
}

async fn run(command: &str, bytes: &[u8]) -> Result<(ExitStatus, Vec<u8>)> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("can't start a shell")?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut input) = input {
            // A command may answer without having read everything.
            let _ = input.write_all(bytes).await;
        }
    };
    let read = async {
        let mut text = Vec::new();
        if let Some(output) = output {
            output.take(PAYLOAD_BYTES_MAX as u64 + 1).read_to_end(&mut text).await?;
        }
        std::io::Result::Ok(text)
    };
    let ((), text) = tokio::join!(write, read);
    let text = text.context("can't read what the command prints")?;
    Ok((child.wait().await.context("can't wait for the command")?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_repairs_or_says_why_not() {
        assert_eq!(repair("sed s/a/b/", b"aa\n").await.unwrap(), b"ba\n");
        assert_eq!(repair("echo other", &vec![b'x'; 1 << 20]).await.unwrap(), b"other\n", "reads nothing");
        for (command, problem) in [("exit 3", "3"), ("no-such-command-at-all 2>/dev/null", "127")] {
            let error = repair(command, b"").await.unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let error = repair("cat /dev/zero", b"").await.unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
    }
}
