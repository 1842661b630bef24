//! The one token that a selector means.

use crate::hsm::error::{HsmError, NO_TOKEN};
use crate::hsm::token_selector::TokenSelector;

use super::module::Module;
use super::slots::{Token, Tokens};

impl TokenSelector {
    /// True if the selector says which token is meant.
    fn is_telling(&self) -> bool {
        self.label.is_some() || self.serial.is_some() || self.manufacturer.is_some() || self.model.is_some()
    }

    fn matches(&self, token: &Token) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.label, &token.label)
            && fits(&self.serial, &token.serial)
            && fits(&self.manufacturer, &token.manufacturer)
            && fits(&self.model, &token.model)
            && self.slot_id.is_none_or(|id| id == token.slot.id())
    }

    /// The one initialised token that fits.
    pub(in crate::hsm) fn find(&self, module: &Module) -> Result<Token, HsmError> {
        if !self.is_telling() {
            return Err(no_token("name the HSM's token by label, serial, manufacturer or model; a slot alone moves"));
        }
        let Tokens { all, unread } = Tokens::read(&module.functions)?;
        let (ready, blank): (Vec<_>, Vec<_>) = all.into_iter().partition(Token::is_initialized);
        let mut fitting = ready.iter().filter(|token| self.matches(token));
        match (fitting.next(), fitting.next()) {
            (Some(token), None) => Ok(token.clone()),
            (Some(_), Some(_)) => Err(no_token(format!("several tokens fit {self}; present are {}", names(&ready)))),
            (None, _) => Err(self.unmet(&ready, &blank, unread)),
        }
    }

    /// Why no token fits. It may be the one that cannot be read just now.
    fn unmet(&self, ready: &[Token], blank: &[Token], unread: Vec<HsmError>) -> HsmError {
        if let Some(blank) = blank.iter().find(|token| self.matches(token)) {
            return no_token(format!("the token {blank} fits {self} and is not initialised"));
        }
        match unread.into_iter().next() {
            None => no_token(format!("no token fits {self}; present are {}", names(ready))),
            Some(error) => HsmError { code: format!("{}; no other fits {self}", error.code).into(), ..error },
        }
    }
}

pub(in crate::hsm) fn no_token(text: impl Into<std::borrow::Cow<'static, str>>) -> HsmError {
    HsmError::misconfigured(NO_TOKEN, text)
}

fn names(tokens: &[Token]) -> String {
    match tokens {
        [] => "none".to_owned(),
        _ => tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(", "),
    }
}
