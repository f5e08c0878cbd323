//! The program: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    ninc::cli::main(std::env::args_os().collect()).into()
}
