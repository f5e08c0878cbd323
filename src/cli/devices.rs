//! `ninc devices`: what programs can run on.

use super::common::Common;
use super::output::{self, Done};
use ninc::pipeline::{self, Device};
use ninc_runtime::opencl;
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
    let cards = opencl::list();
    let unsupported = pipeline::unsupported(&Device::OpenCl(vec![]));
    if args.json {
        let mut all = vec![
            json!({ "device": "cpu", "architecture": architecture, "threads": threads, "features": features }),
            json!({ "device": "interp", "architecture": "any", "threads": 1, "features": [] }),
        ];
        all.extend(cards.iter().flatten().map(|card| {
            json!({
                "device": format!("opencl:{}", card.index), "name": card.name, "kind": card.kind,
                "platform": card.platform, "vendor": card.vendor, "driver": card.driver, "version": card.version,
                "units": card.units, "megahertz": card.megahertz, "memory_bytes": card.memory_bytes,
                "buffer_bytes": card.buffer_bytes, "local_bytes": card.local_bytes,
                "estimated_peak_gflops": (card.peak / 1e9).round(), "unsupported": unsupported,
            })
        }));
        return output::json(&json!(all));
    }
    let mut rows = vec![
        vec!["device".into(), "what it is".into()],
        vec!["cpu".into(), format!("this processor, {architecture}, {threads} threads; {}", features.join(" "))],
        vec!["interp".into(), "the reference interpreter: slow, and right by definition".into()],
    ];
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    for card in cards.iter().flatten() {
        let about = format!(
            "{} ({}), {} units at {} MHz, about {:.0} GFLOP/s, {:.1} GiB ({:.1} at once), {}, {}, driver {}{}",
            card.name,
            card.kind,
            card.units,
            card.megahertz,
            card.peak / 1e9,
            gibibytes(card.memory_bytes),
            gibibytes(card.buffer_bytes),
            card.platform,
            card.version,
            card.driver,
            if opencl::tensor::passes(card) { "; matrix units for bf16 and tf32" } else { "" }
        );
        rows.push(vec![format!("opencl:{}", card.index), about]);
    }
    if let Err(e) = &cards {
        rows.push(vec!["opencl".into(), e.message.clone()]);
        if let Some(help) = &e.help {
            rows.push(vec![String::new(), help.clone()]);
        }
    }
    output::print(&output::table(&rows))?;
    if cards.is_ok() {
        output::line(&format!(
            "OpenCL devices run all operators in float32; kernels cannot have {}.",
            unsupported.join(", ")
        ))?;
    }
    Ok(())
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
