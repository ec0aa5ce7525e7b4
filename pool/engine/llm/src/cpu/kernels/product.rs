//! Products of packed weights with rows of activations.
//!
//! A sum is taken over the blocks of a row from first to last, whatever else is computed with it: how many rows of
//! activations share the pass over the weights changes no bit of any of them.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all kernels, told in the parent module")]
#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays, and the loops are of fixed length")]

use crate::cpu::activations::{Activations, BlockScale};
use crate::cpu::weights::{BLOCK, Kind, Weights};
use lanes::{LANES, Lanes};

/// Rows of activations that share a pass over the weights, at most.
pub const TILE_ROWS: usize = 8;

/// The first row of activations of a tile, and the way to the next.
struct Rows {
    quants: *const i8,
    scales: *const BlockScale,
    floats: *const f32,
    columns: usize,
}

/// Writes the products of `groups` groups of weights, from `first_group` on, with up to [`TILE_ROWS`] `rows` of
/// activations from `first_row` on, to `target[row · stride + weight row]`, both counted from the first.
#[inline(always)]
pub unsafe fn multiply<L: Lanes>(
    weights: &Weights,
    (first_group, groups): (usize, usize),
    activations: &Activations,
    (first_row, rows): (usize, usize),
    target: *mut f32,
    stride: usize,
) {
    let (mut done, end) = (0, rows.min(TILE_ROWS));
    while done < end {
        let row = first_row + done;
        let tile = Rows {
            quants: activations.quants(row, 0),
            scales: activations.scales(row, 0),
            floats: activations.floats(row, 0),
            columns: activations.columns(),
        };
        let target = target.add(done * stride);
        done += match end - done {
            1 => groups_of::<L, 1>(weights, first_group, groups, &tile, target, stride),
            2 => groups_of::<L, 2>(weights, first_group, groups, &tile, target, stride),
            3 => groups_of::<L, 3>(weights, first_group, groups, &tile, target, stride),
            4..8 => groups_of::<L, 4>(weights, first_group, groups, &tile, target, stride),
            _ => groups_of::<L, 8>(weights, first_group, groups, &tile, target, stride),
        };
    }
}

#[inline(always)]
unsafe fn groups_of<L: Lanes, const ROWS: usize>(
    weights: &Weights,
    first_group: usize,
    groups: usize,
    tile: &Rows,
    target: *mut f32,
    stride: usize,
) -> usize {
    let mut group = weights.group(first_group);
    for index in 0..groups {
        let blocks = weights.blocks();
        let sums = match weights.kind() {
            Kind::NibblesAbove => quantised::<L, NibblesAbove, ROWS>(group, blocks, tile),
            Kind::NibblesAround => quantised::<L, NibblesAround, ROWS>(group, blocks, tile),
            Kind::BytesAbove => quantised::<L, BytesAbove, ROWS>(group, blocks, tile),
            Kind::BytesAround => quantised::<L, BytesAround, ROWS>(group, blocks, tile),
            Kind::Floats => floats::<L, ROWS>(group, tile),
        };
        for (row, sum) in sums.into_iter().enumerate() {
            L::store(target.add(row * stride + index * LANES), sum);
        }
        group = group.add(weights.group_bytes());
    }
    ROWS
}

/// A kind of quantised values, known to the compiler.
trait Quantised {
    const KIND: Kind;
    const HAS_MINIMA: bool = false;
    const NIBBLES: bool = false;
    /// What each row's sums of products begin with.
    #[inline(always)]
    unsafe fn start<L: Lanes>(_sum: i32) -> L::Integers {
        L::splat_integer(0)
    }
    #[inline(always)]
    unsafe fn dot<L: Lanes>(sums: L::Integers, bytes: L::Bytes, factors: *const i8) -> L::Integers {
        L::dot_small(sums, bytes, factors)
    }
}

struct NibblesAbove;
struct NibblesAround;
struct BytesAbove;
struct BytesAround;

impl Quantised for NibblesAbove {
    const KIND: Kind = Kind::NibblesAbove;
    const HAS_MINIMA: bool = true;
    const NIBBLES: bool = true;
}

impl Quantised for NibblesAround {
    const KIND: Kind = Kind::NibblesAround;
    const NIBBLES: bool = true;
    #[inline(always)]
    unsafe fn start<L: Lanes>(sum: i32) -> L::Integers {
        L::splat_integer(-8 * sum)
    }
}

impl Quantised for BytesAbove {
    const KIND: Kind = Kind::BytesAbove;
    const HAS_MINIMA: bool = true;
}

impl Quantised for BytesAround {
    const KIND: Kind = Kind::BytesAround;
    #[inline(always)]
    unsafe fn start<L: Lanes>(sum: i32) -> L::Integers {
        L::offset_start(sum)
    }
    #[inline(always)]
    unsafe fn dot<L: Lanes>(sums: L::Integers, bytes: L::Bytes, factors: *const i8) -> L::Integers {
        L::dot_offset(sums, bytes, factors)
    }
}

#[inline(always)]
unsafe fn quantised<L: Lanes, Q: Quantised, const ROWS: usize>(
    group: *const u8,
    blocks: usize,
    tile: &Rows,
) -> [L::Floats; ROWS] {
    let mut sums = [L::splat(0.0); ROWS];
    for block in 0..blocks {
        let (scales, values) = (group.add(Q::KIND.scales_offset(block)), group.add(Q::KIND.values_offset(block)));
        let products = block_products::<L, Q, ROWS>(values, block, tile);
        let scale = L::load_half(scales.cast());
        for row in 0..ROWS {
            let factor = &*tile.scales.add(row * blocks + block);
            let scale = L::multiply(scale, L::splat(factor.scale));
            sums[row] = L::multiply_add(L::to_floats(products[row]), scale, sums[row]);
        }
        if Q::HAS_MINIMA {
            let minimum = L::load_half(scales.add(2 * LANES).cast());
            for row in 0..ROWS {
                let factor = &*tile.scales.add(row * blocks + block);
                sums[row] = L::multiply_add(minimum, L::splat(factor.weighted_sum), sums[row]);
            }
        }
    }
    sums
}

/// The sums of products of one block, in integers and so exact.
#[inline(always)]
unsafe fn block_products<L: Lanes, Q: Quantised, const ROWS: usize>(
    values: *const u8,
    block: usize,
    tile: &Rows,
) -> [L::Integers; ROWS] {
    let blocks = tile.columns / BLOCK;
    let mut products = [L::splat_integer(0); ROWS];
    for row in 0..ROWS {
        products[row] = Q::start::<L>((*tile.scales.add(row * blocks + block)).sum);
    }
    let factors = tile.quants.add(block * BLOCK);
    let vectors = Q::KIND.value_bytes() / (4 * LANES);
    for vector in 0..vectors {
        let bytes = L::load_bytes(values.add(vector * 4 * LANES));
        if Q::NIBBLES {
            let (low, high) = (L::low_nibbles(bytes), L::high_nibbles(bytes));
            for row in 0..ROWS {
                let factors = factors.add(row * tile.columns + 8 * vector);
                products[row] = Q::dot::<L>(products[row], low, factors);
                products[row] = Q::dot::<L>(products[row], high, factors.add(4));
            }
        } else {
            for row in 0..ROWS {
                products[row] = Q::dot::<L>(products[row], bytes, factors.add(row * tile.columns + 4 * vector));
            }
        }
    }
    products
}

#[inline(always)]
unsafe fn floats<L: Lanes, const ROWS: usize>(values: *const u8, tile: &Rows) -> [L::Floats; ROWS] {
    let mut sums = [L::splat(0.0); ROWS];
    for column in 0..tile.columns {
        let weights = L::load(values.cast::<f32>().add(column * LANES));
        for row in 0..ROWS {
            sums[row] = L::multiply_add(weights, L::splat(*tile.floats.add(row * tile.columns + column)), sums[row]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Instructions;
    use crate::cpu::example::{Random, random_matrix};
    use crate::cpu::kernels::quantise;
    use crate::cpu::path::Path;
    use crate::cpu::weights::Arena;
    use crate::gguf::writer::Writer;
    use crate::gguf::{ElementType, Gguf};
    use lanes::available;
    use lanes::portable::Portable;

    const COLUMNS: usize = 160;
    const WEIGHT_ROWS: usize = 41;
    const GROUPS: usize = 3;
    const STRIDE: usize = GROUPS * LANES;
    const ROWS: usize = 8;

    fn products<P: Path>(weights: &Weights, activations: &Activations, rows: (usize, usize)) -> Vec<f32> {
        let mut target = vec![0.0; rows.1 * STRIDE];
        // SAFETY: the path is available, and there are as many rows and groups.
        unsafe { P::product(weights, (0, GROUPS), activations, rows, target.as_mut_ptr(), STRIDE) };
        target
    }

    fn products_with(
        instructions: Instructions,
        weights: &Weights,
        activations: &Activations,
        rows: (usize, usize),
    ) -> Vec<f32> {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => products::<lanes::avx2::Avx2>(weights, activations, rows),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => products::<lanes::avx512::Avx512>(weights, activations, rows),
            _ => products::<Portable>(weights, activations, rows),
        }
    }

    fn weights(element_type: ElementType, random: &mut Random) -> Weights {
        let data = random_matrix(element_type, COLUMNS * WEIGHT_ROWS, 1.0, random);
        let lengths = [COLUMNS as u64, WEIGHT_ROWS as u64];
        let file =
            Gguf::from_bytes(Writer::default().tensor("weights", element_type, &lengths, &data).finish()).unwrap();
        let mut arena = Arena::new(Weights::bytes_of(element_type, COLUMNS, WEIGHT_ROWS)).unwrap();
        arena.pack(file.tensor("weights").unwrap(), COLUMNS, WEIGHT_ROWS)
    }

    fn activations(random: &mut Random) -> Activations {
        let activations = Activations::new(ROWS, COLUMNS, true).unwrap();
        for row in 0..ROWS {
            let values: Vec<f32> = (0..COLUMNS).map(|_| random.next()).collect();
            // SAFETY: there is a row of that length.
            unsafe { quantise::write::<Portable>(values.as_ptr(), COLUMNS, &activations, row, 0) };
        }
        activations
    }

    /// The product in 64-bit floats of what the weights and activations stand for, and the sum of its terms' magnitudes.
    fn expected(weights: &Weights, activations: &Activations, row: usize, weight_row: usize) -> (f64, f64) {
        let mut floats = vec![0.0; COLUMNS];
        weights.row(weight_row, &mut floats);
        let value = |column: usize| {
            // SAFETY: within the row.
            unsafe {
                match weights.kind() {
                    Kind::Floats => f64::from(*activations.floats(row, column)),
                    _ => {
                        let scale = f64::from((*activations.scales(row, column)).scale);
                        scale * f64::from(*activations.quants(row, column))
                    }
                }
            }
        };
        let terms: Vec<f64> = (0..COLUMNS).map(|column| value(column) * f64::from(floats[column])).collect();
        (terms.iter().sum(), terms.iter().map(|term| term.abs()).sum())
    }

    #[test]
    fn products_of_each_type_on_each_path_are_those_of_what_the_bits_stand_for() {
        use ElementType::{Bf16, F16, F32, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
        let random = &mut Random(3);
        for element_type in [F32, F16, Bf16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0] {
            let (weights, activations) = (weights(element_type, random), activations(random));
            // Sums that minima are multiplied with are rounded to 16-bit floats.
            let bound = if matches!(element_type, Q4_1 | Q5_1) { 1e-3 } else { 1e-6 };
            for instructions in available() {
                let found = products_with(instructions, &weights, &activations, (0, ROWS));
                for (row, weight_row) in (0..ROWS).flat_map(|row| (0..WEIGHT_ROWS).map(move |weight| (row, weight))) {
                    let (expected, magnitude) = expected(&weights, &activations, row, weight_row);
                    let apart = (f64::from(found[row * STRIDE + weight_row]) - expected).abs();
                    assert!(apart <= bound * magnitude, "{element_type:?} {instructions:?}: {apart} of {magnitude}");
                }
            }
        }
    }

    #[test]
    fn how_many_rows_share_a_pass_changes_no_bit() {
        let random = &mut Random(4);
        for element_type in
            [ElementType::F32, ElementType::Q4_0, ElementType::Q4_1, ElementType::Q5_1, ElementType::Q8_0]
        {
            let (weights, activations) = (weights(element_type, random), activations(random));
            for instructions in available() {
                let all = products_with(instructions, &weights, &activations, (0, ROWS));
                for (first, count) in (0..ROWS).flat_map(|first| (1..=ROWS - first).map(move |count| (first, count))) {
                    let found = products_with(instructions, &weights, &activations, (first, count));
                    assert!(
                        found == all[first * STRIDE..(first + count) * STRIDE],
                        "{element_type:?} {instructions:?}"
                    );
                }
            }
        }
    }
}
