//! The two sides that are compared, and what they have in common.

use super::Args;
use super::images::Images;
use super::network::Network;
use super::reference::Reference;
use crate::cli::export::list;
use crate::cli::foreign;
use crate::cli::model_file::input_name;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, usage};
use ninc::pipeline::GRADIENTS;
use ninc_runtime::weights::few;
use ninc_runtime::{Error, Tensor};
use std::path::PathBuf;

/// What computes values, or holds them.
pub enum Side {
    /// A network, which computes them.
    Network(Box<Network>),
    /// Values that were computed elsewhere.
    Reference(Reference),
}

/// Gradients by name, in the order in which they are computed.
pub type Gradients = Vec<(String, Tensor)>;

/// Reads both sides; weights go to the networks in their order.
pub fn read(args: &Args, global: &GlobalOptions) -> Done<[Side; 2]> {
    let mut left = args.weights.iter();
    let mut one = |file: &PathBuf, side: usize| -> Done<Side> {
        if Reference::is(file) {
            return Ok(Side::Reference(Reference::read(file)?));
        }
        Ok(Side::Network(Box::new(Network::read(args, file, global, side, &mut left)?)))
    };
    let first = one(&args.file, 0)?;
    let second = match (&args.other, &first) {
        (Some(other), _) => one(other, 1)?,
        (None, Side::Network(network)) => Side::Network(Box::new(network.with(global.side(1)))),
        (None, Side::Reference(_)) => {
            let file = args.file.display();
            let help = format!("name a network or other values too: `ninc compare net.nin {file}`");
            return Err(usage(format!("{file} alone is compared with nothing"), help));
        }
    };
    if let Some(more) = left.next() {
        return Err(usage(format!("--weights {} is for no network", more.display()), "leave it out"));
    }
    let mut sides = [first, second];
    if args.other.is_some() {
        prepare_apart(&mut sides)?;
    }
    Ok(sides)
}

/// Lets two networks prepare images themselves where a file of another program states another preparation, as one
/// with the preparation in it does.
fn prepare_apart(sides: &mut [Side; 2]) -> Done {
    let [Side::Network(a), Side::Network(b)] = sides else { return Ok(()) };
    if !(foreign::says_preparation(&a.file) || foreign::says_preparation(&b.file)) {
        return Ok(());
    }
    let (Some(first), Some(second)) = (a.stated()?, b.stated()?) else { return Ok(()) };
    // Numbers that were fitted and the same that were given are one preparation.
    if list(&first) != list(&second) || first.tensors() != second.tensors() {
        output::note("note: each network prepares images of 0 to 255 as it states");
        (a.own, b.own) = (Some(first), Some(second));
    }
    Ok(())
}

impl Side {
    /// Its values of these names; a network keeps `kept` for that, which else may be fused.
    pub fn values(&self, images: &Images, kept: &[String], names: &[String]) -> Done<Vec<Tensor>> {
        match self {
            _ if names.is_empty() => Ok(vec![]),
            Side::Network(network) => network.values(images, kept, names),
            Side::Reference(reference) => Ok(names.iter().filter_map(|name| reference.get(name).cloned()).collect()),
        }
    }

    /// All its gradients.
    pub fn gradients(&self, images: &Images) -> Done<Gradients> {
        match self {
            Side::Network(network) => network.gradients(images),
            Side::Reference(reference) => Ok(reference.gradients()),
        }
    }
}

/// What is compared.
pub struct Plan {
    /// Values of layers, in the order of the first network, or of the first file.
    pub layers: Vec<String>,
    /// Results, as each side calls them.
    pub results: [Vec<String>; 2],
    /// Whether shapes must agree, dimensions of 1 apart; of two networks it is the number of elements.
    pub strict: bool,
}

impl Plan {
    /// Finds the values that both sides have; what values of a file are for nothing is said.
    pub fn of(sides: &[Side; 2], names: &[String; 2], grad: bool) -> Done<Plan> {
        match sides {
            [Side::Network(a), Side::Network(b)] => {
                let results = [a, b].map(|network| network.results());
                let layers = a.layers().filter(|name| {
                    let result = results.iter().any(|results| results.contains(name));
                    !result && a.sizes(name) == b.sizes(name)
                });
                let layers = layers.collect();
                Ok(Plan { layers, results, strict: false })
            }
            [Side::Network(network), Side::Reference(reference)] => {
                Plan::with_reference(network, reference, [&names[0], &names[1]], grad)
            }
            [Side::Reference(reference), Side::Network(network)] => {
                Plan::with_reference(network, reference, [&names[1], &names[0]], grad)
            }
            [Side::Reference(a), Side::Reference(b)] => {
                let layers: Vec<String> = a.names().filter(|name| b.get(name).is_some()).map(String::from).collect();
                if layers.is_empty() && !grad {
                    return Err(Error::new(format!("{} and {} have no name in common", names[0], names[1])).into());
                }
                for ([own, other], file) in
                    [[a, b], [b, a]].into_iter().zip([names, &[names[1].clone(), names[0].clone()]])
                {
                    note_left(&file[0], &file[1], own.names().filter(|name| other.get(name).is_none()).collect());
                }
                Ok(Plan { layers, results: [vec![], vec![]], strict: true })
            }
        }
    }

    fn with_reference(network: &Network, reference: &Reference, [net, file]: [&str; 2], grad: bool) -> Done<Plan> {
        let there = |name: &String| reference.get(name).is_some();
        let results: Vec<String> = network.results().into_iter().filter(there).collect();
        let layers: Vec<String> =
            network.layers_and_blocks().filter(|name| there(name) && !results.contains(name)).collect();
        if layers.is_empty() && results.is_empty() && !grad {
            let known = network.layers().collect::<Vec<_>>();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let help = format!("`ninc inspect {net}` lists the names of its values: {}", few(&known));
            return Err(Error::new(format!("{file} holds no value of {net}")).with_help(help).into());
        }
        let image = input_name(&network.model)?;
        let used = |name: &&str| *name == image || *name == Reference::LABELS;
        let compared = |name: &&str| layers.iter().chain(&results).any(|known| known == name);
        note_left(file, net, reference.names().filter(|name| !used(name) && !compared(name)).collect());
        if !grad && !reference.gradients().is_empty() {
            output::note(&format!("note: `--grad` compares the gradients in {file} too"));
        }
        Ok(Plan { layers, results: [results.clone(), results], strict: true })
    }
}

/// Says which values of a file the other side does not have.
fn note_left(file: &str, other: &str, left: Vec<&str>) {
    if !left.is_empty() {
        output::note(&format!("note: {file} holds what {other} has not: {}", few(&left)));
    }
}

/// The gradients that both sides have, in the order of the first; `strict`: one of them holds values of a file.
pub fn common_gradients(
    names: &[String; 2],
    a: Gradients,
    b: Gradients,
    strict: bool,
) -> Done<(Vec<String>, Vec<Tensor>, Vec<Tensor>)> {
    let find = |list: &Gradients, name: &str| list.iter().position(|(known, _)| known == name);
    let fits = |name: &str, dims: &[usize]| find(&b, name).is_some_and(|at| strict || b[at].1.dims == dims);
    let common: Vec<usize> = (0..a.len()).filter(|&i| fits(&a[i].0, &a[i].1.dims)).collect();
    if common.is_empty() {
        let help = format!("a gradient is called {GRADIENTS}NAME for a parameter or input NAME");
        return Err(Error::new(format!("{} and {} have no gradient in common", names[0], names[1]))
            .with_help(help)
            .into());
    }
    let wanted: Vec<String> = common.iter().map(|&i| a[i].0.clone()).collect();
    if strict {
        for (own, file, other) in [(&a, &names[0], &names[1]), (&b, &names[1], &names[0])] {
            let left = own.iter().map(|(name, _)| name.as_str()).filter(|name| !wanted.iter().any(|w| w == name));
            note_left(file, other, left.collect());
        }
    }
    let second = wanted.iter().filter_map(|name| find(&b, name)).map(|at| b[at].1.clone()).collect();
    let first = common.into_iter().map(|i| a[i].1.clone()).collect();
    Ok((wanted, first, second))
}
