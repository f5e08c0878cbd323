//! `ninc devices`: what programs can run on.

use super::options::GlobalOptions;
use super::output::{self, Done};
use ninc::pipeline::{self, Device};
use ninc_runtime::opencl;
use ninc_runtime::words::counted;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let architecture = std::env::consts::ARCH;
    let threads = global.threads();
    let features = features();
    let found = opencl::list();
    let unsupported = pipeline::unsupported(&Device::OpenCl(vec![]));
    if args.json {
        let mut all = vec![
            json!({ "device": "cpu", "architecture": architecture, "threads": threads, "features": features }),
            json!({ "device": "interp", "architecture": "any", "threads": 1, "features": [] }),
        ];
        all.extend(found.iter().flatten().map(|device| {
            json!({
                "device": format!("opencl:{}", device.index), "name": device.name, "kind": device.kind,
                "platform": device.platform, "vendor": device.vendor, "driver": device.driver,
                "version": device.version,
                "units": device.units, "megahertz": device.megahertz, "memory_bytes": device.memory_bytes,
                "buffer_bytes": device.buffer_bytes, "local_bytes": device.local_bytes,
                "estimated_peak_gflops": (device.peak / 1e9).round(), "unsupported": unsupported,
            })
        }));
        return output::json(&json!(all));
    }
    let mut rows = vec![
        vec!["device".into(), "what it is".into()],
        vec![
            "cpu".into(),
            format!(
                "this processor, {architecture}, {}; {}{}",
                counted(threads, "thread"),
                features.join(" "),
                if ninc_runtime::tiles::permitted() { "; matrix units for bf16 and int8 (AMX)" } else { "" }
            ),
        ],
        vec!["interp".into(), "the reference interpreter: slow, and right by definition".into()],
    ];
    rows.extend(found.iter().flatten().map(|device| vec![format!("opencl:{}", device.index), about(device)]));
    if let Err(e) = &found {
        rows.push(vec!["opencl".into(), e.message.clone()]);
        if let Some(help) = &e.help {
            rows.push(vec![String::new(), help.clone()]);
        }
    }
    output::print(&output::table(&rows))?;
    output::line(&format!(
        "`ninc build --target {}` runs all operators in browsers and Node; kernels cannot have {}.",
        ninc::library::web::TARGET,
        ninc::library::web::UNSUPPORTED.join(", ")
    ))?;
    if found.is_ok() {
        output::line(&format!(
            "OpenCL devices run all operators in float32; kernels cannot have {}.",
            unsupported.join(", ")
        ))?;
    }
    Ok(())
}

/// Describes an OpenCL device in words.
fn about(device: &opencl::Info) -> String {
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    format!(
        "{} ({}), {} units at {} MHz, about {:.0} GFLOP/s, {:.1} GiB ({:.1} at once), {}, {}, driver {}{}",
        device.name,
        device.kind,
        device.units,
        device.megahertz,
        device.peak / 1e9,
        gibibytes(device.memory_bytes),
        gibibytes(device.buffer_bytes),
        device.platform,
        device.version,
        device.driver,
        if opencl::tensor::passes(device) { "; matrix units for bf16 and tf32" } else { "" }
    )
}

/// Lists the vector instructions of this processor that matter here.
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
            ("avx512_bf16", std::is_x86_feature_detected!("avx512bf16")),
            ("avx512_vnni", std::is_x86_feature_detected!("avx512vnni")),
            ("avx_vnni", std::is_x86_feature_detected!("avxvnni")),
            // Only where the system lets this process use them.
            ("amx_bf16", ninc_runtime::tiles::permitted()),
            ("amx_int8", ninc_runtime::tiles::permitted()),
        ];
        found.extend(checks.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    }
    found
}
