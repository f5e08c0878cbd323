//! `ninc devices`: what programs can run on.

use super::common::Common;
use super::output::{self, Done};
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, common: &Common) -> Done {
    let architecture = std::env::consts::ARCH;
    let threads = common.threads();
    let features = features();
    if args.json {
        return output::json(&json!([
            { "device": "cpu", "architecture": architecture, "threads": threads, "features": features },
            { "device": "interp", "architecture": "any", "threads": 1, "features": [] },
        ]));
    }
    let rows = vec![
        vec!["device".into(), "what it is".into()],
        vec!["cpu".into(), format!("this processor, {architecture}, {threads} threads; {}", features.join(" "))],
        vec!["interp".into(), "the reference interpreter: slow, and right by definition".into()],
    ];
    output::print(&output::table(&rows))
}

/// Vector instructions that matter here.
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let checks = [
            ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
            ("avx", std::is_x86_feature_detected!("avx")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
            ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ];
        found.extend(checks.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    }
    found
}
