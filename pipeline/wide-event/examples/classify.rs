//! Classifies user agents, one a line, from standard input: a tab-separated line each on standard output with the
//! agent, browser, operating system, device, whether it is a bot (`1` or `0`) and why.
//!
//! `cargo run --release -p wide-event --example classify <agents.txt`; `bench/agents-check.py` compares the result
//! with independent classifiers.

use std::io::{self, BufRead, BufWriter, Write};

use wide_event::agent::Agents;

fn main() -> io::Result<()> {
    let mut agents = Agents::default();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return out.flush();
        }
        let user_agent = line.strip_suffix(b"\n").unwrap_or(&line);
        let agent = agents.classify(user_agent);
        out.write_all(user_agent)?;
        writeln!(
            out,
            "\t{}\t{}\t{}\t{}\t{}",
            agent.browser,
            agent.os,
            agent.device,
            u8::from(agent.bot_reason.is_some()),
            agent.bot_reason.unwrap_or_default()
        )?;
    }
}
