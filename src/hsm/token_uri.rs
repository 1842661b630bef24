//! `pkcs11:` URIs (RFC 7512), as far as they name a token and its module.

use std::path::PathBuf;

use super::token_selector::TokenSelector;

impl TokenSelector {
    /// Reads a `pkcs11:` URI: which token, and the `module-path` if it names one.
    ///
    /// Everything else that RFC 7512 can say is refused rather than ignored, `pin-value` first of all: a URI ends in
    /// process lists and logs.
    pub fn parse_uri(uri: &str) -> Result<(TokenSelector, Option<PathBuf>), String> {
        let rest = uri.strip_prefix("pkcs11:").ok_or("a PKCS#11 URI begins with `pkcs11:`")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut selector = TokenSelector::default();
        for (name, value) in attributes(path, ';')? {
            set(&mut selector, name, value)?;
        }
        let module = module_path(query)?;
        match selector {
            TokenSelector { label: None, serial: None, manufacturer: None, model: None, .. } => {
                Err("the URI names no token: give `token`, `serial`, `manufacturer` or `model`".to_owned())
            }
            telling => Ok((telling, module)),
        }
    }
}

fn set(selector: &mut TokenSelector, name: &str, value: String) -> Result<(), String> {
    let field = match name {
        "token" => &mut selector.label,
        "serial" => &mut selector.serial,
        "manufacturer" => &mut selector.manufacturer,
        "model" => &mut selector.model,
        "slot-id" => return set_once(&mut selector.slot_id, name, parse_slot(&value)?),
        _ => return Err(format!("the attribute `{name}` does not name a token")),
    };
    set_once(field, name, value)
}

fn set_once<T>(field: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("the attribute `{name}` is given twice")),
    }
}

fn parse_slot(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| "`slot-id` is not a number".to_owned())
}

fn module_path(query: &str) -> Result<Option<PathBuf>, String> {
    let mut module = None;
    for (name, value) in attributes(query, '&')? {
        match name {
            "module-path" => set_once(&mut module, name, PathBuf::from(value))?,
            "pin-value" | "pin-source" => {
                return Err(format!(
                    "`{name}` is refused: the PIN does not belong in a URI, give it in the configuration"
                ));
            }
            _ => return Err(format!("the query attribute `{name}` is not supported")),
        }
    }
    Ok(module)
}

/// The `name=value` pairs, values percent-decoded.
fn attributes(text: &str, separator: char) -> Result<Vec<(&str, String)>, String> {
    let pair = |part: &str| -> Result<(usize, String), String> {
        let (name, value) = part.split_once('=').ok_or("a part of the URI has no `=`")?;
        Ok((
            name.len(),
            percent_decode(value).ok_or_else(|| format!("the value of `{name}` is not percent-encoded UTF-8"))?,
        ))
    };
    let parts = text.split(separator).filter(|part| !part.is_empty());
    parts.map(|part| pair(part).map(|(name, value)| (part.get(..name).unwrap_or_default(), value))).collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let value = |digit: u8| char::from(digit).to_digit(16);
        bytes.push(u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(uri: &str) -> String {
        TokenSelector::parse_uri(uri).unwrap_err()
    }

    #[test]
    fn a_uri_names_a_token_and_a_module() {
        let uri = "pkcs11:token=Rack%207%3B%20left;serial=01ab;slot-id=3?module-path=/usr/lib/hsm.so";
        let (selector, module) = TokenSelector::parse_uri(uri).unwrap();
        assert_eq!(selector.label.as_deref(), Some("Rack 7; left"));
        assert_eq!((selector.serial.as_deref(), selector.slot_id), (Some("01ab"), Some(3)));
        assert_eq!(module, Some(PathBuf::from("/usr/lib/hsm.so")));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        let text = refusal("pkcs11:token=a?pin-value=1234");
        assert!(text.contains("`pin-value` is refused") && !text.contains("1234"));
        for uri in ["pkcs11:token=a;pin-value=1234", "pkcs11:token=a?pin-value:1234", "pkcs11:token=a;pin=%1234"] {
            assert!(!refusal(uri).contains("1234"), "{}", refusal(uri));
        }
    }

    #[test]
    fn what_does_not_name_a_token_is_refused() {
        assert!(refusal("pkcs11:slot-id=3").contains("names no token"));
        assert!(refusal("pkcs11:").contains("names no token"));
        assert!(refusal("pkcs11:token=a;object=b").contains("`object`"));
        assert!(refusal("pkcs11:token=a;token=b").contains("twice"));
        assert!(refusal("pkcs11:token").contains("no `=`"));
        assert!(refusal("pkcs11:token=%ff").contains("UTF-8"));
        assert!(refusal("pkcs11:token=%4").contains("percent"));
        assert!(refusal("pkcs11:token=a?module-name=b").contains("`module-name`"));
        assert!(refusal("token=a").contains("`pkcs11:`"));
    }
}
