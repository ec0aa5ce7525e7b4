//! What the inputs of each product look like, seen on a few texts, and the factors that make them fit 8 bits better.
//!
//! A few of an encoder's values are ten times as large as all others, always the same few. On a grid for a whole row they
//! leave the others little. So each input is multiplied by a factor and its weights are divided by it, which changes no
//! product; the factor is chosen such that input and weight are equally hard to put on a grid (Xiao et al. 2023,
//! "SmoothQuant", with α = ½).

/// Texts that a model is calibrated with: short and long, of several languages and scripts, numbers, code, single words.
/// More of them change nothing that can be measured.
pub const TEXTS: [&str; 16] = [
    "The ferry leaves at half past six, and the last bus to the harbour is often late.",
    "rain",
    "Is the warranty still valid if I opened the case myself?",
    "Revenue rose 4.7% to $1,283.5 million in the quarter ended 30 June 2019, against $1,226.0 million a year before.",
    "Die Bäckerei am Markt öffnet morgens um sechs, sonntags gar nicht.",
    "Le train de nuit pour Marseille est complet ; il reste des places demain.",
    "La biblioteca cierra a las ocho y no abre los lunes.",
    "会议改到星期四下午三点，请通知大家。",
    "Поезд пришёл вовремя, но багаж остался на вокзале.",
    "صباح الخير، متى تفتح الصيدلية؟",
    "fn total(items: &[Item]) -> u64 { items.iter().map(|item| item.price * item.count).sum() }",
    "SELECT name, count(*) FROM orders WHERE created_at > now() - interval '7 days' GROUP BY name;",
    "https://example.com/reports/2021/summary.html?page=3&sort=date #status @office",
    "😀 thanks!!! see you there 🎉",
    "a b c 1 2 3 ( ) [ ] - _ / \\ . , ; : ? !",
    "The survey began in spring, when the river was high and most of the lower fields stood under water. Two teams worked \
     from opposite banks; each measured depth, temperature and the speed of the current every fifty metres, and wrote down \
     what plants and insects it found. By August the two sets of figures differed by so little that the council accepted \
     them without a second count, and the plan for the new bridge was drawn up from them that winter. Nobody expected the \
     price of steel to double within a year, nor the old ferry to become, once more, the only way across.",
];

/// An input smaller than this share of the mean is treated as if it had this share: it may only have been seen too little.
const SHARE_MIN: f32 = 1.0 / 16.0;

/// The products of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Queries, keys and values.
    AttentionInput,
    /// What attention mixed.
    AttentionOutput,
    /// To the wide layer.
    Expand,
    /// From the wide layer.
    Contract,
}

/// The greatest magnitude of each input of each product.
#[derive(Debug)]
pub struct Observed {
    layers: Vec<[Vec<f32>; 4]>,
}

impl Observed {
    /// Nothing seen yet, of `layers` layers.
    pub fn new(layers: usize, hidden: usize, intermediate: usize) -> Self {
        let layer = || [hidden, hidden, hidden, intermediate].map(|inputs| vec![0.0; inputs]);
        Self { layers: (0..layers).map(|_| layer()).collect() }
    }

    /// Looks at rows of inputs.
    pub fn see(&mut self, layer: usize, product: Product, rows: &[f32]) {
        let greatest = &mut self.layers[layer][product as usize];
        for row in rows.chunks_exact(greatest.len()) {
            greatest.iter_mut().zip(row).for_each(|(greatest, value)| *greatest = greatest.max(value.abs()));
        }
    }

    /// What each input of a product is to be multiplied by, if `weights` has the weights of an output in each row.
    pub fn factors(&self, layer: usize, product: Product, weights: &[f32]) -> Vec<f32> {
        let inputs = &self.layers[layer][product as usize];
        let mut greatest = vec![0.0_f32; inputs.len()];
        for row in weights.chunks_exact(inputs.len()) {
            greatest.iter_mut().zip(row).for_each(|(greatest, weight)| *greatest = greatest.max(weight.abs()));
        }
        let (inputs, weights) = (raised(inputs), raised(&greatest));
        inputs.iter().zip(weights).map(|(input, weight)| (weight / input).sqrt()).collect()
    }
}

/// Magnitudes, none below [`SHARE_MIN`] of their mean; ones where all are zero.
fn raised(magnitudes: &[f32]) -> Vec<f32> {
    let least = SHARE_MIN * magnitudes.iter().sum::<f32>() / magnitudes.len() as f32;
    if least > 0.0 && least.is_finite() {
        magnitudes.iter().map(|magnitude| magnitude.max(least)).collect()
    } else {
        vec![1.0; magnitudes.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_input_with_small_weights_is_made_as_large_as_these() {
        let mut observed = Observed::new(1, 2, 2);
        observed.see(0, Product::Expand, &[-8.0, 1.0, 3.0, -2.0]);
        let factors = observed.factors(0, Product::Expand, &[0.5, 0.25, -0.5, 2.0]);
        assert_eq!(factors, [0.25, 1.0]);
    }

    #[test]
    fn what_was_never_seen_or_has_no_weight_gets_a_finite_factor() {
        let mut observed = Observed::new(1, 2, 2);
        assert_eq!(observed.factors(0, Product::Contract, &[0.0; 4]), [1.0, 1.0]);
        observed.see(0, Product::Contract, &[0.0, 4.0]);
        for factor in observed.factors(0, Product::Contract, &[0.0, 0.0, 1.0, 0.0]) {
            assert!(factor.is_finite() && factor > 0.0, "{factor}");
        }
    }
}
