//! The kernels compiled for each kind of processor, and the choice among them.

use super::CpuOptions;
use super::activations::Activations;
use super::kernels::{attention, attention::Heads, product};
use super::step::{self, Step};
use super::weights::Weights;
use engine_core::{EngineError, Reason};
use lanes::{Instructions, Lanes, available, portable::Portable};

/// Lanes with functions in which their instructions are enabled. Loops that run long enough are functions of their own, so
/// that the compiler makes one of each and not one a caller.
pub trait Path: Lanes {
    /// [`product::multiply`].
    unsafe fn product(
        weights: &Weights,
        groups: (usize, usize),
        activations: &Activations,
        rows: (usize, usize),
        target: *mut f32,
        stride: usize,
    );

    /// [`attention::attend`].
    unsafe fn attend(
        heads: &Heads<'_>,
        queries: &[*mut f32],
        lengths: &[usize],
        scale: f32,
        scores: *mut f32,
        score_stride: usize,
    );

    /// [`step::run`].
    unsafe fn run(step: &Step<'_>, phase: usize, unit: usize, worker: usize);
}

macro_rules! path {
    ($lanes:ty $(, $features:literal)?) => {
        impl Path for $lanes {
            $(#[target_feature(enable = $features)])?
            unsafe fn product(
                weights: &Weights,
                groups: (usize, usize),
                activations: &Activations,
                rows: (usize, usize),
                target: *mut f32,
                stride: usize,
            ) {
                // SAFETY: the conditions are the caller's, the same.
                unsafe { product::multiply::<$lanes>(weights, groups, activations, rows, target, stride) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn attend(
                heads: &Heads<'_>,
                queries: &[*mut f32],
                lengths: &[usize],
                scale: f32,
                scores: *mut f32,
                score_stride: usize,
            ) {
                // SAFETY: the conditions are the caller's, the same.
                unsafe { attention::attend::<$lanes>(heads, queries, lengths, scale, scores, score_stride) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn run(step: &Step<'_>, phase: usize, unit: usize, worker: usize) {
                // SAFETY: the conditions are the caller's, the same.
                unsafe { step::run::<$lanes>(step, phase, unit, worker) }
            }
        }
    };
}

path!(Portable);
#[cfg(target_arch = "x86_64")]
path!(lanes::avx2::Avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
path!(lanes::avx512::Avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c");

/// Does a unit of a step.
pub type RunUnit = unsafe fn(step: &Step<'_>, phase: usize, unit: usize, worker: usize);

/// The path that the options ask for, or the best.
pub fn choose(options: &CpuOptions) -> Result<RunUnit, EngineError> {
    let available = available();
    let best = available.last().copied().unwrap_or(Instructions::Portable);
    let chosen = options.instructions.unwrap_or(best);
    if !available.contains(&chosen) {
        let message = format!("This processor has no {chosen:?}; it has {available:?}.");
        return Err(EngineError::new(Reason::Unsupported, message));
    }
    Ok(match chosen {
        Instructions::Portable => <Portable as Path>::run,
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => <lanes::avx2::Avx2 as Path>::run,
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => <lanes::avx512::Avx512 as Path>::run,
        #[cfg(not(target_arch = "x86_64"))]
        _ => <Portable as Path>::run,
    })
}
