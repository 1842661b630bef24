//! Key policies and identity policies (IAM: "Grammar of the IAM JSON policy language").

use strongroom::{
    action::Action,
    arn::AccountId,
    client::Client,
    clock::Timestamp,
    error::KmsError,
    policy::{Decision, Document, Facts, Request, RequestFacts, Resource, decide, pretty},
    principal::Principal,
};

const KEY: &str = "arn:aws:kms:eu-test-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const DENIES_ALL: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;

/// A policy that is laid out as AWS does is a policy, laid out already, that decides the same; and no policy allows what
/// another denies.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    check_as(text, Document::key_policy, |request, document, identity| decide(request, Some(document), identity));
    check_as(text, Document::identity_policy, |request, document, identity| {
        let all: Vec<_> = identity.iter().chain([document]).collect();
        decide(request, None, &all)
    });
}

fn check_as(
    text: &str,
    parse: fn(&str) -> Result<Document, KmsError>,
    decide: impl Fn(&Request<'_>, &Document, &[Document]) -> Decision,
) {
    let Ok(document) = parse(text) else { return };
    let laid_out = pretty(text).expect("a policy is JSON");
    assert_eq!(pretty(&laid_out).as_ref(), Some(&laid_out));
    let same = parse(&laid_out).expect("it was a policy before it was laid out");
    let denial = [Document::identity_policy(DENIES_ALL).expect("a policy")];
    for question in questions() {
        let request = question.request();
        assert_eq!(decide(&request, &document, &[]), decide(&request, &same, &[]));
        assert_ne!(decide(&request, &document, &denial), Decision::Allowed);
    }
}

/// A question, and what it borrows.
struct Question {
    principal: Principal,
    owner: AccountId,
    action: Action,
    parameters: RequestFacts,
    client: Client,
}

impl Question {
    fn request(&self) -> Request<'_> {
        let resource = Resource::Key { arn: KEY, owner: &self.owner };
        let (request, client, time) = (&self.parameters, &self.client, Timestamp::from_ms(0));
        let facts = Facts { request, alias: None, key: None, client, time };
        Request { principal: &self.principal, action: self.action, resource, facts }
    }
}

/// Questions of the account itself, of a user, of a role in a session and of a user of another account.
fn questions() -> Vec<Question> {
    let principals = [
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:user/ada",
        "arn:aws:sts::111122223333:assumed-role/operator/session",
        "arn:aws:iam::444455556666:user/eve",
    ];
    let owner = AccountId::try_from("111122223333".to_owned()).expect("an account");
    let questions = principals.into_iter().flat_map(|arn| {
        [Action::Encrypt, Action::CreateGrant].map(|action| Question {
            principal: Principal::try_from(arn.to_owned()).expect("a principal"),
            owner: owner.clone(),
            action,
            parameters: RequestFacts::default(),
            client: Client::default(),
        })
    });
    questions.collect()
}
