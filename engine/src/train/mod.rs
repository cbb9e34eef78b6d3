//! Training: from pairs of texts to a model package. `RECIPE.md` says what each number is for.
//!
//! ```text
//! pairs --data--> batch --pass--> vectors --loss--> gradients --pass--> --optimise--> weights --run--> package
//! ```

mod checkpoint;
pub mod data;
mod embed;
mod log;
pub mod loss;
mod mine;
mod optimise;
pub mod pass;
mod prepare;
mod recipe;
mod run;
mod soup;
mod start;
mod stepper;
mod teacher;
pub mod vocabulary;

#[cfg(test)]
mod reference;

pub use mine::Mining;
pub use optimise::Optimiser;
pub use pass::{Pass, Tape};
pub use recipe::{Arithmetic, Blocks, Recipe, Stage, TeacherSource, Turn};
pub use run::{Folders, Progress, Trained, train};
pub use start::{GrownStart, RandomStart, Start};
pub use stepper::Step;
pub use teacher::Teacher;
