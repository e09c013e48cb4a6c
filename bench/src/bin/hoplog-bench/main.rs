//! The benchmarks, run by `cargo xtask bench`: the result as JSON on standard output, what happens on standard error.
//! It records nothing: that is xtask's part.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line tool talks to its terminal

mod baseline;
mod redirect;
mod stack;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Throughput and p99 of redirects: events on, off, pipeline stopped, and a bare service.
    Redirect(redirect::Options),
    /// A bare axum service that redirects whatever it is asked: what this machine can do at most.
    Baseline {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Redirect(options) => {
            println!("{}", redirect::run(&options).await?);
            Ok(())
        }
        Benchmark::Baseline { listen } => baseline::serve(listen).await,
    }
}
