//! A certificate authority and the broker's certificate, made by the `keytool` of the Java runtime.

use std::path::PathBuf;
use std::process::Command;

use crate::part::Part;

/// Guards keys that exist for the length of a test.
pub(super) const PASSWORD: &str = "testbed";

/// The broker's key and certificate.
pub(super) fn keystore(part: &Part) -> PathBuf {
    part.file("broker.p12")
}

/// The authority's certificate as PEM.
pub(super) fn authority(part: &Part) -> PathBuf {
    part.file("ca.pem")
}

/// Makes both.
pub(super) fn create(part: &Part) {
    let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"];
    let name = ["-dname", "CN=hoplog testbed authority", "-ext", "bc:c"];
    keytool(part, &[&["-genkeypair", "-alias", "ca"], &key[..], &name[..]].concat());
    let name = ["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1,dns:localhost"];
    keytool(part, &[&["-genkeypair", "-alias", "broker", "-signer", "ca"], &key[..], &name[..]].concat());
    let pem = authority(part).display().to_string();
    keytool(part, &["-exportcert", "-rfc", "-alias", "ca", "-file", &pem]);
    // The broker would offer either key.
    keytool(part, &["-delete", "-alias", "ca"]);
}

fn keytool(part: &Part, arguments: &[&str]) {
    let mut command = Command::new("keytool");
    command.args(arguments).args(["-storetype", "PKCS12", "-storepass", PASSWORD, "-keystore"]);
    super::run(command.arg(keystore(part)));
}
