//! A network that answers.

use crate::arrays::Numbers;
use crate::errors::raised;
use crate::turns::{Busy, Turns};
use ninc::cli::embedded::{self, Answer, Fault, Guess, Picture};
use ninc_runtime::Tensor;
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// A network with its weights. Threads take turns.
#[pyclass(frozen, module = "ninc._ninc")]
pub struct Network(Turns<embedded::Network>);

/// A picture's name, with the path of its file or its bytes.
#[derive(FromPyObject)]
struct Named(OsString, PathOrBytes);

#[derive(FromPyObject)]
enum PathOrBytes {
    Bytes(Vec<u8>),
    Path(PathBuf),
}

/// A map's label and its numbers.
type Labelled<'py> = (String, Bound<'py, PyArrayDyn<f32>>);

fn pictures(given: Vec<Named>) -> Vec<(String, Picture)> {
    let one = |Named(name, picture): Named| {
        let picture = match picture {
            PathOrBytes::Path(path) => Picture::File(path),
            PathOrBytes::Bytes(bytes) => Picture::Bytes(bytes),
        };
        (name.to_string_lossy().into_owned(), picture)
    };
    given.into_iter().map(one).collect()
}

/// Works on the network without the interpreter's lock. `work` is given a function that says whether to go on: not
/// where a signal's handler raises, whose exception is raised here.
fn working<T: Send>(
    py: Python<'_>,
    network: &Network,
    work: impl FnOnce(&mut embedded::Network, &mut dyn FnMut() -> bool) -> Result<T, Fault> + Send,
) -> PyResult<T> {
    let (done, raised_by) = py.detach(|| {
        let mut signal = None;
        let mut go_on = || match Python::attach(|py| py.check_signals()) {
            Ok(()) => true,
            Err(e) => {
                signal = Some(e);
                false
            }
        };
        let done = network.0.take(|network| work(network, &mut go_on));
        (done.unwrap_or_else(|busy| Err(fault(busy))), signal)
    });
    match raised_by {
        Some(signal) => Err(signal),
        None => done.map_err(|fault| raised(py, &fault)),
    }
}

/// Says why it is nobody's turn.
fn fault(busy: Busy) -> Fault {
    let (message, help) = match busy {
        Busy::Here => (
            "the model is computing already, in this thread",
            "what is called meanwhile, as the handler of a signal, may use another model: `ninc.load` it again",
        ),
        Busy::Elsewhere => (
            "this process is a copy (`os.fork`) that was made while the model computed, and has half of its state",
            "load the model again in the copy, or start processes with \"spawn\"",
        ),
    };
    Fault { usage: false, message: message.into(), help: Some(help.into()), diagnostics: "[]".into() }
}

fn array(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyArrayDyn<f32>>> {
    PyArray1::from_vec(py, tensor.data).reshape(tensor.dims)
}

#[pymethods]
impl Network {
    /// Opens what `ninc run` opens with these words behind it.
    #[new]
    fn new(py: Python<'_>, words: Vec<OsString>) -> PyResult<Network> {
        let opened = py.detach(|| embedded::Network::open(&words));
        opened.map(|network| Network(Turns::new(network))).map_err(|fault| raised(py, &fault))
    }

    /// Says what the network is, as JSON.
    fn facts(&self, py: Python<'_>) -> PyResult<String> {
        working(py, self, |network, _| Ok(network.facts().to_string()))
    }

    /// Returns probabilities, [N, classes], or the network's result.
    fn answer<'py>(&self, py: Python<'py>, shape: Vec<usize>, images: Numbers<'py>) -> PyResult<Bound<'py, PyAny>> {
        let given = images.given()?;
        let answer = working(py, self, |network, go_on| {
            let answer = network.answer(&shape, given, go_on)?;
            Ok((answer, network.outputs()))
        })?;
        Ok(match answer {
            (Answer::Probabilities(all), classes) => {
                let rows = all.len() / classes.max(1);
                PyArray1::from_vec(py, all).reshape([rows, classes])?.into_any()
            }
            (Answer::Result(tensor), _) => array(py, tensor)?.into_any(),
        })
    }

    /// Returns named values, [N, …] each.
    fn values<'py>(
        &self,
        py: Python<'py>,
        shape: Vec<usize>,
        images: Numbers<'py>,
        names: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        let given = images.given()?;
        let values = working(py, self, |network, go_on| network.values(&shape, given, &names, go_on))?;
        values.into_iter().map(|tensor| array(py, tensor)).collect()
    }

    /// Names the best classes of pictures.
    fn classify(&self, py: Python<'_>, given: Vec<Named>, top: usize) -> PyResult<Vec<Vec<Guess>>> {
        let given = pictures(given);
        working(py, self, |network, go_on| network.classify(&given, top, go_on))
    }

    /// Finds the maps of pictures.
    fn maps<'py>(
        &self,
        py: Python<'py>,
        given: Vec<Named>,
        words: Vec<OsString>,
        top: usize,
    ) -> PyResult<Vec<Vec<Labelled<'py>>>> {
        let given = pictures(given);
        let made = working(py, self, |network, _| network.maps(&given, &words, top))?;
        let one = |map: embedded::Map| Ok((map.label, PyArray1::from_vec(py, map.values).reshape(map.size.to_vec())?));
        made.into_iter().map(|maps| maps.into_iter().map(one).collect()).collect()
    }

    /// Writes an ONNX file.
    fn export(&self, py: Python<'_>, words: Vec<OsString>) -> PyResult<String> {
        working(py, self, |network, _| network.export(&words))
    }

    /// Draws the network.
    fn svg(&self, py: Python<'_>, layers: bool) -> PyResult<String> {
        working(py, self, |network, _| network.svg(layers))
    }
}
