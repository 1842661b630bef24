//! From words to rules and events. `None` is: not understood.

use cryptoki_sys::{CKR_SESSION_COUNT, CKR_TOKEN_NOT_PRESENT};

use crate::code;
use crate::function::Function;
use crate::rule::{Action, Crash, Delay, Lie, Rule, Tale};
use crate::world::World;

/// `C_Encrypt nth 2 once answer CKR_DEVICE_ERROR`.
pub fn rule(words: &[&str]) -> Option<Rule> {
    let (function, mut rest) = words.split_first()?;
    let mut rule = match *function {
        "any" => Rule::on_any(),
        name => Rule::on(Function::named(name)?.name()),
    };
    while let Some((narrowed, after)) = narrow(rule.clone(), rest) {
        (rule, rest) = (narrowed?, after);
    }
    Some(rule.act(action(rest)?))
}

/// A word that says which calls a rule is about, and the words after it; none when an action begins.
fn narrow<'a>(rule: Rule, words: &'a [&'a str]) -> Option<(Option<Rule>, &'a [&'a str])> {
    Some(match words {
        ["once", rest @ ..] => (Some(rule.once()), rest),
        ["before", rest @ ..] => (Some(rule.before()), rest),
        ["after", rest @ ..] => (Some(rule.after()), rest),
        ["nth", n, rest @ ..] => (number(n).map(|n| rule.nth(n)), rest),
        ["times", n, rest @ ..] => (number(n).map(|n| rule.times(n)), rest),
        ["session", n, rest @ ..] => (number(n).map(|n| rule.session(n)), rest),
        ["slot", n, rest @ ..] => (number(n).map(|n| rule.slot(n)), rest),
        ["mechanism", n, rest @ ..] => (number(n).map(|n| rule.mechanism(n)), rest),
        ["chance", p, seed, rest @ ..] => {
            (p.parse().ok().zip(number(seed)).map(|(p, seed)| rule.chance(p, seed)), rest)
        }
        ["window", a, b, rest @ ..] => (number(a).zip(number(b)).map(|(a, b)| rule.window_ms(a, b)), rest),
        _ => return None,
    })
}

fn action(words: &[&str]) -> Option<Action> {
    Some(match words {
        ["answer", code] => Action::Answer(code::parse(code)?),
        ["leave-active", code] => Action::LeaveActive(code::parse(code)?),
        ["delay", ms] => Action::Delay(Delay::Fixed { micros: millis(ms)? }),
        ["delay", a, b] => Action::Delay(Delay::Uniform { from_micros: millis(a)?, to_micros: millis(b)? }),
        ["delay-around", ms, sigma] => {
            Action::Delay(Delay::LogNormal { median_micros: millis(ms)?, sigma: sigma.parse().ok()? })
        }
        ["hang"] => Action::Hang,
        ["hang-for-ever"] => Action::HangForEver,
        ["stop"] => Action::Stop,
        ["flip"] => Action::FlipBit,
        ["swap"] => Action::Swap,
        ["longer", n] => Action::Length(Lie::Longer(number(n)?)),
        ["shorter", n] => Action::Length(Lie::Shorter(number(n)?)),
        ["tell", "blanks"] => Action::Tell(Tale::Blanks),
        ["tell", "zeros"] => Action::Tell(Tale::Zeros),
        ["tell", "unpadded"] => Action::Tell(Tale::Unpadded),
        ["tell", "garbage"] => Action::Tell(Tale::Garbage),
        ["tell", "flags"] => Action::Tell(Tale::Flags),
        ["tell", "numbers", n] => Action::Tell(Tale::Numbers(number(n)?)),
        ["too-small"] => Action::Length(Lie::TooSmall),
        ["random", byte] => Action::ConstantRandom(self::byte(byte)?),
        ["repeat-random"] => Action::RepeatRandom,
        ["crash", "segv"] => Action::Crash(Crash::Segv),
        ["crash", "abort"] => Action::Crash(Crash::Abort),
        ["crash", "exit", status] => Action::Crash(Crash::Exit(status.parse().ok()?)),
        _ => return None,
    })
}

/// `vanish CKR_DEVICE_REMOVED`.
pub fn world(words: &[&str]) -> Option<World> {
    Some(match words {
        ["kill-sessions"] => World::KillSessions,
        ["log-out"] => World::LogOut,
        ["reboot"] => World::Reboot,
        ["failover", ms] => World::Failover { millis: number(ms)? },
        ["vanish"] => World::Vanish { code: CKR_TOKEN_NOT_PRESENT },
        ["vanish", code] => World::Vanish { code: code::parse(code)? },
        ["return"] => World::Return,
        ["cap", n] => World::CapSessions { sessions: n.parse().ok()?, code: CKR_SESSION_COUNT },
        ["cap", n, code] => World::CapSessions { sessions: n.parse().ok()?, code: code::parse(code)? },
        ["uncap"] => World::UncapSessions,
        ["lock-pin-after", n] => World::LockPinAfter { tries: n.parse().ok()? },
        ["reset-pin"] => World::ResetPin,
        ["hide"] => World::Hide { id: None },
        ["hide", id] => World::Hide { id: Some(hex(id)?) },
        ["show"] => World::Show,
        ["duplicates", on] => World::DuplicateFinds { on: switch(on)? },
        ["random", "off"] => World::ConstantRandom { byte: None },
        ["random", byte] => World::ConstantRandom { byte: Some(self::byte(byte)?) },
        ["full", on] => World::Full { on: switch(on)? },
        ["calm"] => World::Calm,
        _ => return None,
    })
}

fn number(word: &str) -> Option<u64> {
    code::number(word)
}

fn byte(word: &str) -> Option<u8> {
    number(word)?.try_into().ok()
}

fn millis(word: &str) -> Option<u64> {
    number(word)?.checked_mul(1000)
}

fn switch(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn hex(word: &str) -> Option<Vec<u8>> {
    let pairs = word.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn rules_are_read() {
        let read = |line| rule(&words(line));
        let once = Rule::on("C_Encrypt").nth(2).once().after().answer(0x30);
        assert_eq!(read("C_Encrypt nth 2 once after answer CKR_DEVICE_ERROR"), Some(once));
        assert_eq!(read("any chance 0.5 7 delay 20"), Some(Rule::on_any().chance(0.5, 7).delay_ms(20)));
        assert_eq!(read("C_Login crash exit 3"), Some(Rule::on("C_Login").crash(Crash::Exit(3))));
        assert_eq!(
            read("C_GetTokenInfo slot 3 tell numbers 7"),
            Some(Rule::on("C_GetTokenInfo").slot(3).tell(Tale::Numbers(7)))
        );
        for wrong in ["", "C_Encryptt hang", "C_Encrypt", "C_Encrypt nth x hang", "any answer CKR_NONE"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn events_are_read() {
        let read = |line| world(&words(line));
        assert_eq!(read("vanish CKR_DEVICE_REMOVED"), Some(World::Vanish { code: 0x32 }));
        assert_eq!(read("hide 0aff"), Some(World::Hide { id: Some(vec![10, 255]) }));
        assert_eq!(read("random off"), Some(World::ConstantRandom { byte: None }));
        for wrong in ["", "hide 0af", "full", "explode"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
