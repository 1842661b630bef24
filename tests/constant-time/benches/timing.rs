//! Does the time of un-padding RSA-OAEP tell in which way a message is wrong?
//!
//! As dudect does it (Reparaz, Balasch, Verbauwhede, 2017): two classes of input take turns at random, so that whatever else the
//! machine does strikes both alike; the slowest samples are cut off; Welch's t says whether the means differ. |t| beyond 4.5 is
//! a hint, beyond 10 a leak. An un-padder that leaks is measured first: if that is not seen, the rest says nothing.
//!
//! `cargo bench -p constant-time`

#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../src/cases.rs"]
mod cases;
#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/hsm/engine/calls/oaep.rs"]
mod oaep;
#[allow(dead_code, reason = "part of it is for the program alone")]
#[path = "../../../src/secret.rs"]
mod secret;

use std::{hint::black_box, process::ExitCode, time::Instant};

use cases::{Case, LEAKY, cases};

const SAMPLES: usize = 200_000;
const WARM_UP: usize = 10_000;
/// Of the samples of a class, those that are counted: the slowest are the machine's doing.
const COUNTED: f64 = 0.9;
const LEAK: f64 = 10.0;
/// What the leaky one must show.
const PLAIN: f64 = 50.0;

fn main() -> ExitCode {
    let invalid: Vec<Case> = cases(256).into_iter().filter(|case| case.message.is_none()).collect();
    let (first, others) = invalid.split_first().expect("there are several");
    let mut passed = true;
    let (name, leaky) = LEAKY[0];
    let t = compare(first, &others[0], |encoded| leaky(&mut encoded.to_vec()));
    println!("control: {name}: `{}` against `{}`: t = {t:.1}", first.name, others[0].name);
    passed &= t.abs() > PLAIN;
    for other in others {
        let t = compare(first, other, |encoded| usize::from(oaep::unpad(encoded, encoded.len()).is_some()));
        println!("un-padding: `{}` against `{}`: t = {t:.1}", first.name, other.name);
        passed &= t.abs() < LEAK;
    }
    println!(
        "{SAMPLES} samples of each class; {}",
        if passed { "no leak seen, but for the control's" } else { "FAILED" }
    );
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Welch's t of the times that the two take.
fn compare(one: &Case, other: &Case, run: impl Fn(&[u8]) -> usize) -> f64 {
    let mut times = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
    let mut coin = Coin(0x9e37_79b9_7f4a_7c15);
    for sample in 0..2 * SAMPLES + WARM_UP {
        let class = usize::from(coin.toss());
        // Both from the same place, so that where they lie in memory tells nothing.
        let input = [&one.encoded, &other.encoded][class].clone();
        let began = Instant::now();
        black_box(run(black_box(&input)));
        let took = began.elapsed().as_nanos() as f64;
        if sample >= WARM_UP {
            times[class].push(took);
        }
    }
    let [one, other] = times.map(moments);
    (one.mean - other.mean) / (one.variance / one.count + other.variance / other.count).sqrt()
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

fn moments(mut times: Vec<f64>) -> Moments {
    times.sort_by(f64::total_cmp);
    times.truncate((times.len() as f64 * COUNTED) as usize);
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Moments { count, mean, variance }
}

/// Xorshift: which class is next has to be unpredictable to the branch predictor, and to nobody else.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 1 == 1
    }
}
