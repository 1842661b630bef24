//! The file that a picture is written to.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use crate::server::ExitError;

/// A file for a picture, made before there is one: it is known at once if it cannot be.
pub struct PlotFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> PlotFile<'a> {
    /// Makes the file, in the place of the one that is there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &'a Path) -> Result<Self, ExitError> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path, file })
    }

    /// Writes the picture.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(mut self, svg: &str) -> Result<(), ExitError> {
        self.file.write_all(svg.as_bytes()).map_err(|error| failed(self.path, &error))
    }
}

fn failed(path: &Path, error: &io::Error) -> ExitError {
    ExitError::new(format!("{}: {error}", path.display()))
}
