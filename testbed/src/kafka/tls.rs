//! A certificate authority and the broker's certificate, made by the `keytool` of the Java runtime.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Guards keys that exist for the length of a test.
pub(super) const PASSWORD: &str = "testbed";

/// The broker's key and certificate.
pub(super) fn keystore(directory: &Path) -> PathBuf {
    directory.join("broker.p12")
}

/// The authority's certificate as PEM.
pub(super) fn authority(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

/// Makes both.
pub(super) fn create(directory: &Path) {
    let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"];
    let name = ["-dname", "CN=hoplog testbed authority", "-ext", "bc:c"];
    keytool(directory, &[&["-genkeypair", "-alias", "ca"], &key[..], &name[..]].concat());
    let name = ["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1,dns:localhost"];
    keytool(
        directory,
        &[&["-genkeypair", "-alias", "broker", "-signer", "ca"], &key[..], &name[..]].concat(),
    );
    keytool(directory, &["-exportcert", "-rfc", "-alias", "ca", "-file", "ca.pem"]);
    // The broker would offer either key.
    keytool(directory, &["-delete", "-alias", "ca"]);
}

fn keytool(directory: &Path, arguments: &[&str]) {
    let mut command = Command::new("keytool");
    command.args(arguments).args(["-storetype", "PKCS12", "-storepass", PASSWORD, "-keystore"]);
    command.arg(keystore(directory));
    super::run(command, directory);
}
