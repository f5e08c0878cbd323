//! `ninc serve`: a network behind HTTP.

use super::numbers;
use super::opened::GivenWeights;
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::programs::show_dumps;
use super::signals;
use ninc::pipeline::Device;
use ninc::serve::{self, Limits, Stop};
use ninc_runtime::Error;
use ninc_runtime::data::range::Range;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod files;
mod network;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    #[command(flatten)]
    given: GivenWeights,
    /// What the numbers of the training data ran from and to, where the weights do not say it: `0,255` or `0,1`
    #[arg(long, value_name = "LOW,HIGH", value_parser = numbers::range)]
    range: Option<Range>,
    /// Port; 0 takes one that is free
    #[arg(long, default_value_t = 8000, value_name = "P")]
    port: u16,
    /// Address to listen on; 0.0.0.0 lets other machines in, which nothing here keeps out
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS", value_parser = address)]
    host: IpAddr,
    /// Images of a run of the network at most: what waits is put together. More would have other last bits than an
    /// image by itself
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    batch: u16,
    /// Runs of the network that go on at once, each on its part of the threads: 2 on a processor with two threads or
    /// more, otherwise 1, unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    engines: Option<u16>,
    /// How long an image waits for others that share its run
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    wait: u64,
    /// Requests that wait at most; others are told to ask again (503)
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queue: u32,
    /// Bytes of a request at most: `16MB`, `500KB`
    #[arg(long, default_value = "16MB", value_name = "SIZE", value_parser = size)]
    limit: usize,
    /// Pixels of a request's pictures at most, all together: `25M`, `500K`. They are counted before anything is decoded
    #[arg(long, default_value = "25M", value_name = "N", value_parser = pixels)]
    pixels: u64,
    /// Connections at most; fewer, with a note, where the system allows fewer files (`ulimit -n`)
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Seconds that a client may take to send a request's head, and its body, and that an idle connection stays open.
    /// What the network takes does not count
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = super::options::number(0.01, 86_400.0))]
    timeout: f64,
    /// Say each request
    #[arg(long)]
    log: bool,
}

/// Reads a number with a unit behind it: powers of 1000.
fn counted(text: &str, units: &[(&str, usize)]) -> Option<usize> {
    let text = text.trim();
    units.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit)?.trim_end();
        digits.parse::<usize>().ok()?.checked_mul(*factor)
    })
}

/// Reads an address of this machine.
fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| {
            "expected an address in numbers: 127.0.0.1 (`localhost`), ::1, or 0.0.0.0 for all of this machine".into()
        }),
    }
}

/// Reads a number of bytes: `500KB`, `16MB`, `1GB`.
fn size(text: &str) -> Result<usize, String> {
    let found = counted(text, &[("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1)]);
    // A picture's file has the same bound elsewhere.
    found
        .filter(|bytes| (1..=1 << 29).contains(bytes))
        .ok_or_else(|| "expected a size like `16MB`, at most `536MB`".into())
}

/// Reads a number of pixels: `500K`, `25M`.
fn pixels(text: &str) -> Result<u64, String> {
    let found = counted(text, &[("K", 1_000), ("M", 1_000_000), ("", 1)]);
    found
        .filter(|pixels| (1..=1_000_000_000).contains(pixels))
        .map(|pixels| pixels as u64)
        .ok_or_else(|| "expected a number like `25M`, at most `1000M`".into())
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let start = Instant::now();
    let model = global.model_on(&args.file, args.given.data())?;
    let weights = args.given.find(&model, &args.file)?;
    let opening = args.given.opening(&args.file, weights.as_deref(), false, &[]);
    // Two at once answer x1.3 to x1.4 as many requests of the CIFAR-10 network on two cores, and a lone client as soon:
    // reading and answering take the time that a second thread saves.
    let usual = if global.device() == Device::Cpu { global.threads().clamp(1, 2) } else { 1 };
    let engines = args.engines.map_or(usual, usize::from);
    // Before the rest, which takes longer.
    let listener = listen(args)?;
    let network = network::Served::open(&opening, model, args.range, (engines, args.pixels), global)?;
    show_dumps(&network.dumps)?;
    let address = listener.local_addr().map_err(|e| Error::new(format!("cannot serve: {e}")))?;
    let body = args.limit;
    let limits = Limits {
        batch: usize::from(args.batch),
        queue: args.queue as usize,
        body,
        bodies: body.saturating_mul(4).max(256 << 20),
        connections: files::connections(args.connections as usize),
        patience: Duration::from_secs_f64(args.timeout),
        wait: Duration::from_millis(args.wait),
        workers: global.threads().max(engines),
        log: args.log,
    };
    let stop = Stop::default();
    let signal = stop.clone();
    signals::on_stop(move || signal.stop())?;
    let loaded = start.elapsed().as_secs_f64() * 1e3;
    output::line(&format!("{} on http://{}/ (loaded in {loaded:.0} ms)", network.name, shown(address)))?;
    let served = serve::serve(listener, Arc::new(network), limits, stop)?;
    let refused = match served.requests - served.good {
        0 => String::new(),
        refused => format!(", {refused} of them refused"),
    };
    let given_up = match served.given_up {
        0 => String::new(),
        count => format!("; {} given up, too slow", output::counted(count, "connection")),
    };
    let count = output::counted(served.requests as usize, "request");
    output::last(format!("served {count}{refused}{given_up}"));
    Ok(())
}

/// An address as it stands in a browser's line.
fn shown(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn listen(args: &Args) -> Done<TcpListener> {
    let (host, port) = (args.host, args.port);
    TcpListener::bind((host, port)).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => usage(
            format!("port {port} of {host} is taken by another program"),
            "give another with `--port`; `--port 0` takes one that is free",
        ),
        std::io::ErrorKind::PermissionDenied => {
            usage(format!("port {port} is not for ordinary users"), "give one from 1024 on with `--port`")
        }
        _ => Error::new(format!("cannot listen on {host}, port {port}: {e}"))
            .with_help("`--host` is an address of this machine: 127.0.0.1 for its own programs, 0.0.0.0 for all")
            .into(),
    })
}
