//! A certificate authority, and a server's certificate for this machine, made by `openssl`. For servers that take PEM; Kafka's
//! are in its own module.

use std::path::PathBuf;
use std::process::Command;

use crate::part::Part;

/// Files of a part, as PEM.
pub(crate) struct Tls {
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// Where they are, made or not.
    pub(crate) fn of(part: &Part) -> Self {
        let file = |name| part.file(name);
        Self { authority: file("ca.pem"), certificate: file("server.pem"), key: file("server.key") }
    }

    /// Makes them, for 127.0.0.1 and localhost.
    pub(crate) fn create(part: &Part) -> Self {
        let tls = Self::of(part);
        let (authority_key, request) = (part.file("ca.key"), part.file("server.csr"));
        let new = |subject: &str, key: &PathBuf| {
            let mut command = Command::new("openssl");
            command.args([
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ]);
            command.args(["-subj", subject, "-keyout"]).arg(key);
            command
        };
        let mut ca = new("/CN=hoplog testbed authority", &authority_key);
        // Its constraints are those of OpenSSL's own configuration for such certificates.
        run(ca.args(["-x509", "-days", "30", "-out"]).arg(&tls.authority));
        run(new("/CN=localhost", &tls.key).arg("-out").arg(&request));
        let names = part.file("names");
        std::fs::write(&names, "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            .expect("the directory can be written to");
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "30", "-CAcreateserial", "-in"]).arg(&request);
        sign.arg("-CA").arg(&tls.authority).arg("-CAkey").arg(&authority_key);
        run(sign.arg("-extfile").arg(&names).arg("-out").arg(&tls.certificate));
        tls
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}
