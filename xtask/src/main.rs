#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod bench;
mod check;
mod command;
mod engine;
mod generate;
mod maven;
mod npm;
mod python;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  up [-- ARGS]                       build, fetch the engine, run `hoplog up ARGS`
  test [--require-all] [-- FILTER]   provision what tests need and run all of them
  check                              formatting, clippy, rustdoc, dependencies, generated files
  gen [--check]                      write the generated files, or fail where one has drifted
  bench [NAME [-- ARGS]]             run a benchmark (default: redirect) and record the result
  engine                             fetch the engine library and print its path
  kafka | zookeeper                  fetch the jars that tests start it from and print their folder";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let (own, passed_on) = split_at_dashes(args);
    let words: Vec<&str> = own.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => up::run(passed_on),
        ["test"] => test::run(false, passed_on),
        ["test", "--require-all"] => test::run(true, passed_on),
        ["check"] => check::run(),
        ["gen"] => generate::run(generate::Mode::Write),
        ["gen", "--check"] => generate::run(generate::Mode::Check),
        ["bench"] => bench::run("redirect", passed_on),
        ["bench", name] => bench::run(name, passed_on),
        ["engine"] => {
            println!("{}", engine::fetch()?.display());
            Ok(())
        }
        [name @ ("kafka" | "zookeeper")] => {
            println!("{}", maven::libs(name)?.display());
            Ok(())
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("cannot run `{}`\n{USAGE}", words.join(" ")),
    }
}

/// What stands before a lone `--` is ours, what follows belongs to the command that we start.
fn split_at_dashes(args: &[String]) -> (&[String], &[String]) {
    match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[]),
    }
}
