//! Secrets in files: readable by their owner only, never half-written, never overwritten.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile; // mode 0600

/// Writes the secret into a new file; does nothing if the file is there.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn write_new(path: &Path, secret: &str) -> Result<()> {
    let dir = path.parent().context("a secret's file needs a directory")?;
    let mut partial =
        NamedTempFile::new_in(dir).with_context(|| format!("can't write to {}", dir.display()))?;
    writeln!(partial, "{secret}")
        .and_then(|()| partial.as_file().sync_all())
        .with_context(|| format!("can't write to {}", dir.display()))?;
    match partial.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error).with_context(|| format!("can't make {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_written_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.key");
        write_new(&path, "first").unwrap();
        write_new(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "left-overs");
        assert!(write_new(&dir.path().join("no/such/dir"), "x").is_err());
    }
}
