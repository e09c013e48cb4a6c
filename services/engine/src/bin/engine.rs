//! The engine alone, for tests: `engine --data DIR [--listen ADDR] [--library PATH] [--config JSON]
//! [--until-stdin-closes]`. Prints `listening on ADDR` and serves until SIGTERM, SIGINT or, if asked to, the
//! end of its standard input. The product's `hoplog engine` calls the same library function.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use engine::EngineConfig;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("engine: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let (config, until_stdin_closes) = arguments()?;
    let wrong = config.check();
    if !wrong.is_empty() {
        let lines: Vec<String> = wrong.iter().map(|(field, what)| format!("{field}: {what}")).collect();
        return Err(lines.join("; ").into());
    }
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (closed, stdin) = tokio::sync::oneshot::channel::<()>();
    if until_stdin_closes {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            closed.send(())
        });
    } else {
        // Never dropped, so never heard of.
        std::mem::forget(closed);
    }
    let shutdown = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = stdin => {} }
    };
    // Connections wait in the listener's queue until the engine is open.
    println!("listening on {address}");
    engine::serve(config, listener, shutdown).await?;
    Ok(())
}

fn arguments() -> Result<(EngineConfig, bool), Failure> {
    let mut config = EngineConfig::default();
    let mut until_stdin_closes = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--data" => config.data_dir = value()?.into(),
            "--listen" => config.listen = value()?.parse()?,
            "--library" => config.library = Some(value()?.into()),
            "--config" => {
                let (data, listen, library) = (config.data_dir, config.listen, config.library);
                config = serde_json::from_str(&value()?)?;
                (config.data_dir, config.listen, config.library) = (data, listen, library);
            }
            "--until-stdin-closes" => until_stdin_closes = true,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    Ok((config, until_stdin_closes))
}
