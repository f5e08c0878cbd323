//! Arrays of NumPy, read where they lie.

use ninc::cli::embedded::Given;
use numpy::{PyReadonlyArray3, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Numbers of images, as the pure half hands them over: in C order, or as the bytes of a file of NumPy.
#[derive(FromPyObject)]
pub enum Numbers<'py> {
    /// Float numbers.
    Floats(PyReadonlyArrayDyn<'py, f32>),
    /// Bytes.
    Bytes(PyReadonlyArrayDyn<'py, u8>),
    /// A file of NumPy.
    Npy(Bound<'py, PyBytes>),
}

impl Numbers<'_> {
    /// Lends the memory.
    pub fn given(&self) -> PyResult<Given<'_>> {
        let order = |_| PyValueError::new_err("the array is not in C order");
        Ok(match self {
            Numbers::Floats(array) => Given::Floats(array.as_slice().map_err(order)?),
            Numbers::Bytes(array) => Given::Bytes(array.as_slice().map_err(order)?),
            Numbers::Npy(file) => Given::Npy(file.as_bytes().to_vec()),
        })
    }
}

/// Encodes pixels, [H, W, 1 or 3], as a PNG.
#[pyfunction]
pub fn png<'py>(py: Python<'py>, pixels: PyReadonlyArray3<'py, u8>) -> PyResult<Bound<'py, PyBytes>> {
    let [height, width, channels] = *pixels.shape() else {
        return Err(PyValueError::new_err("pixels are [H, W, channels]"));
    };
    let bytes = pixels.as_slice().map_err(|_| PyValueError::new_err("the array is not in C order"))?;
    let png = ninc_runtime::image::png(width, height, channels, bytes);
    Ok(PyBytes::new(py, &png.map_err(|e| PyValueError::new_err(e.to_string()))?))
}
