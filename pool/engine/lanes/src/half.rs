//! 16-bit floats (IEEE 754 binary16), where no instruction for them is at hand.

/// The float of these 16 bits; exact.
pub fn from_half(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half) & 0x3ff;
    let magnitude = match (exponent, fraction) {
        (0, _) => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        (0x1f, _) => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest 16-bit float, ties to even; what is too large becomes infinite.
pub fn to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = match magnitude {
        0x7f80_0001.. => 0x7e00,
        // From 65,520 on the nearest is infinity.
        0x477f_f000.. => 0x7c00,
        0x3880_0000.. => {
            let rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
            ((rounded - (112 << 23)) >> 13) as u16
        }
        // Below the normal range, adding 0.5 leaves the fraction, rounded, in the lowest bits.
        _ => (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000) as u16,
    };
    sign | half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_to_float_and_back() {
        for half in 0..=u16::MAX {
            let float = from_half(half);
            if float.is_nan() {
                assert!(from_half(to_half(float)).is_nan());
            } else {
                assert_eq!(to_half(float), half, "{half:#06x}");
            }
        }
    }

    #[test]
    fn halves_are_rounded_to_the_nearest_and_ties_to_even() {
        for half in 0..0x7bff_u16 {
            let (low, high) = (f64::from(from_half(half)), f64::from(from_half(half + 1)));
            let middle = (low + high) / 2.0;
            let even = if half % 2 == 0 { half } else { half + 1 };
            assert_eq!(to_half(middle as f32), even);
            assert_eq!(to_half((middle as f32).next_up()), half + 1);
            assert_eq!(to_half((middle as f32).next_down()), half);
        }
        assert_eq!(to_half(65_519.996), 0x7bff);
        assert_eq!(to_half(65_520.0), 0x7c00);
    }
}
