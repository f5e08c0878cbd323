//! A plan as text: the number of launches first, then what lies where and what runs when.

use ninc_runtime::plan::{Iterations, Launch, Place, Plan, Port};
use std::fmt::{self, Write};

/// The whole plan.
pub fn print(plan: &Plan) -> String {
    let mut text = String::new();
    write(plan, &mut text).expect("strings take all text");
    text
}

fn write(plan: &Plan, out: &mut String) -> fmt::Result {
    writeln!(out, "{} launches", plan.launches.len())?;
    let each = if plan.prepare_each_run { ", in each run" } else { "" };
    writeln!(out, "plan {}: {} to prepare{each}", plan.name, plan.prepare.len())?;
    if let Some(shares) = &plan.shares {
        let (sums, last) = (shares.sums.len(), plan.launches.len() - plan.finish);
        let how = if shares.whole { "launch by launch".into() } else { format!("{last} launches after the last") };
        writeln!(out, "shares of the batch, {how}, {sums} sums")?;
        if let Some(group) = shares.group {
            writeln!(out, "groups of {group} images in a share")?;
        }
    }
    if let Some(group) = plan.group {
        let last = plan.launches.len() - plan.finish;
        writeln!(out, "groups of {group} images, {last} launches after the last")?;
    }
    let (fixed, image) = (plan.fixed_bytes, plan.image_bytes);
    writeln!(out, "arena {fixed} bytes + {image} per image, persistent {} bytes", plan.persistent_bytes)?;
    for (title, ports) in [("inputs", &plan.inputs), ("outputs", &plan.outputs), ("params", &plan.params)] {
        if !ports.is_empty() {
            writeln!(out, "{title}:")?;
        }
        for p in ports {
            writeln!(out, "  {} {} in {}", p.name, port_type(p), plan.buffers[p.buffer].name)?;
        }
    }
    for (title, launches) in [("prepare", &plan.prepare), ("launches", &plan.launches)] {
        if !launches.is_empty() {
            writeln!(out, "{title}:")?;
        }
        for launch in launches {
            writeln!(out, "  {}", launch_text(plan, launch))?;
        }
    }
    writeln!(out, "buffers:")?;
    for b in plan.buffers.iter().filter(|b| b.fixed + b.per_image > 0) {
        let size =
            if b.per_image > 0 { format!("{} bytes per image", b.per_image) } else { format!("{} bytes", b.fixed) };
        let place = match b.place {
            Place::Persistent { offset } => format!("persistent + {offset}"),
            Place::Fixed { offset } => format!("arena + {offset}"),
            Place::PerImage { offset } => format!("images + {offset}·batch"),
        };
        writeln!(out, "  {}: {size} at {place}", b.name)?;
    }
    if let Some((most, plan)) = &plan.small_batch {
        writeln!(out, "for at most {most} images:")?;
        write(plan, out)?;
    }
    Ok(())
}

fn port_type(port: &Port) -> String {
    let mut dims: Vec<String> = port.dims.iter().map(|d| d.to_string()).collect();
    if port.batched {
        dims.insert(0, "N".into());
    }
    format!("{}[{}]", port.dtype, dims.join(", "))
}

fn launch_text(plan: &Plan, launch: &Launch) -> String {
    let args: Vec<&str> = launch.buffers.iter().map(|&b| plan.buffers[b].name.as_str()).collect();
    let kernel = &plan.kernels[launch.kernel].name;
    format!("{kernel}({}) iterations {}", args.join(", "), iterations_text(launch.iterations))
}

fn iterations_text(iterations: Iterations) -> String {
    let Iterations { fixed, each, images } = iterations;
    let batch = if images == 1 { "batch".to_string() } else { format!("ceil(batch/{images})") };
    match (fixed, each) {
        (_, 0) => fixed.to_string(),
        (0, 1) => batch,
        (0, _) => format!("{each}·{batch}"),
        _ => format!("{fixed} + {each}·{batch}"),
    }
}
