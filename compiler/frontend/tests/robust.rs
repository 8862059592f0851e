//! No text makes the compiler panic: programs with pieces removed, swapped and doubled are refused or compiled, never worse.

mod support;

use support::elaborate;

/// Programs that touch most of the language.
const SEEDS: [&str; 3] = [
    "fn halves(x: f32[a.., m], parts: int) where m mod parts == 0 \"parts\" {
    let k = m div parts
    for i in parts { yield out = x[.., i*k : (i + 1)*k] }
    out
}
layer norm(x: f32[.., c], momentum: real = 0.9) -> y: f32[.., c] {
    state seen: f32[c] = 0
    if training { let mu[c] = mean[i..] x[i.., c]; seen = momentum * seen + (1 - momentum) * mu; y = x - mu }
    else { y = x - seen }
}
model m(x: f32[batch, 4]) -> y: f32[batch, 4], z: f32[batch] {
    let (a, b) = halves(x, 2)
    shared f = dense(2)
    y = concat(a |> f, b |> f) |> norm
    for i in 3 carry h = x { h = h |> dense(4, bias = false) as step }
    let keep: f32[batch, 4] ~ normal(0, 1)
    z[n] = (max[k] if k > 1 { h[n, k] * keep[n, k] } else { skip }) + sum(f.w^2)
}",
    "model c(image: f32[batch, 9, 9, 2]) -> logits: f32[batch, 3] {
    logits = image |> conv(4, kernel = (3, 2), stride = 2, groups = 2) |> relu |> avg_pool(2, padding = same)
        |> max_pool(2) |> flatten |> dense(3)
}
train c(label: i32[batch]) {
    loss fit  = softmax_cross_entropy(logits, label)
    loss size = 0.1 * mean(logits^2)
    metric    accuracy(logits, label)
    optimizer = momentum(lr = 0.1, mu = 0.8) on \"conv_*\"
    optimizer = adam(lr = 1e-3)
    schedule  = cosine(warmup = 10)
    freeze    \"dense_1.b\"
    batch     = 8
    shards    = 2
}",
    "layer attend(x: f32[b, t, d], heads: int, size: int = d div heads) -> y: f32[b, t, d] {
    param w: f32[3, d, heads, size] ~ glorot_uniform
    let q[b, h, i, k] = sum[d] x[b, i, d] * w[0, d, h, k]
    let key[b, h, j, k] = sum[d] x[b, j, d] * w[1, d, h, k]
    let score[b, h, i, j] = if j > i { -inf } else { sum[k] q[b, h, i, k] * key[b, h, j, k] / sqrt(size) }
    let p = softmax(score)
    let mix[b, i, (h, k)] = sum[j] p[b, h, i, j] * key[b, h, j, k]
    y = mix
}
model g(token: i32[batch, 6]) -> logits: f32[batch, 6, 10] {
    param table: f32[10, 8] ~ normal(0, 0.02)
    let e[b, t, d] = table[token[b, t], d else 0]
    let h = e |> attend(2)
    logits[b, t, v] = sum[d] h[b, t, d] * table[v, d]
}",
];

/// Words and signs with the white space after each.
fn pieces(text: &str) -> Vec<&str> {
    let mut cuts = vec![0];
    let bytes = text.as_bytes();
    for at in 1..bytes.len() {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let inside = word(bytes[at - 1]) && word(bytes[at]);
        if !inside && !bytes[at].is_ascii_whitespace() {
            cuts.push(at);
        }
    }
    cuts.push(text.len());
    cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect()
}

#[test]
fn the_seeds_are_right_programs() {
    for seed in SEEDS {
        support::compile(seed);
    }
}

#[test]
fn no_change_of_a_program_panics() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut compiled = 0;
    for seed in SEEDS {
        let whole = pieces(seed);
        for round in 0..80 {
            let mut changed = whole.clone();
            for _ in 0..=round % 2 {
                let at = next(changed.len());
                match next(4) {
                    0 => {
                        changed.remove(at);
                    }
                    1 => changed.insert(at, whole[next(whole.len())]),
                    2 => changed[at] = whole[next(whole.len())],
                    _ => {
                        changed[at] =
                            ["0", "1", "2", "3", "batch", "-1", "9007199254740992", "none"][next(8)]
                    }
                }
            }
            let (program, diagnostics, _) = elaborate(&changed.concat(), None);
            if let Some(program) = program {
                compiled += 1;
                for graph in support::graphs(&program) {
                    graph
                        .verify()
                        .unwrap_or_else(|errors| panic!("{errors:?}\n{}", changed.concat()));
                }
            } else {
                assert!(!diagnostics.is_empty(), "nothing is said about:\n{}", changed.concat());
            }
        }
    }
    assert!(compiled > 10, "{compiled} programs survived their change");
}
