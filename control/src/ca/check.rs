//! Whether issuer files belong together, by Sentry's rules (spec/security 2.9).

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Which of the files is wrong, and why.
pub(super) enum Fault {
    Anchors(String),
    Issuer(String),
    Key(String),
}

/// Checks everything at the time `now` and returns the moment when the first certificate that matters ends.
pub(super) fn check(anchors: &[Vec<u8>], chain: &[Vec<u8>], key: &KeyPair, now: i64) -> Result<i64, Fault> {
    let anchors = parse(anchors).map_err(Fault::Anchors)?;
    let chain = parse(chain).map_err(Fault::Issuer)?;
    for anchor in &anchors {
        check_anchor(anchor).map_err(Fault::Anchors)?;
    }
    let (issuer, last) = match (chain.first(), chain.last()) {
        (Some(first), Some(last)) => (first, last),
        _ => return Err(Fault::Issuer("there is no issuer besides the trust anchor".into())),
    };
    if issuer.public_key().raw != key.subject_public_key_info() {
        return Err(Fault::Key("does not belong to the certificate in issuer.crt".into()));
    }
    for certificate in &chain {
        check_authority(certificate, now).map_err(Fault::Issuer)?;
    }
    for (lower, upper) in chain.iter().zip(chain.iter().skip(1)) {
        if !is_signed_by(lower, upper) {
            let why = format!("{} is not signed by the certificate that follows it", lower.subject());
            return Err(Fault::Issuer(why));
        }
    }
    let anchor = anchor_of(last, &anchors, now).map_err(Fault::Issuer)?;
    let ends = chain.iter().chain([anchor]).map(|c| c.validity().not_after.timestamp());
    Ok(ends.min().unwrap_or(now))
}

/// Whether a certificate signs itself: then it is an anchor, and not presented to peers.
pub(super) fn is_self_signed(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, c)| is_signed_by(&c, &c))
}

fn parse(ders: &[Vec<u8>]) -> Result<Vec<X509Certificate<'_>>, String> {
    ders.iter()
        .map(|der| match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(certificate),
            Ok(_) => Err("holds a certificate with bytes behind its end".into()),
            Err(e) => Err(format!("holds a certificate that cannot be read: {e}")),
        })
        .collect()
}

fn check_anchor(anchor: &X509Certificate<'_>) -> Result<(), String> {
    match is_signed_by(anchor, anchor) {
        true => Ok(()),
        false => Err(format!("the trust anchor {} is not self-signed", anchor.subject())),
    }
}

/// A CA that may sign certificates now.
fn check_authority(certificate: &X509Certificate<'_>, now: i64) -> Result<(), String> {
    let name = certificate.subject();
    let ca = certificate.basic_constraints().map_err(|e| e.to_string())?.is_some_and(|b| b.value.ca);
    let usage = certificate.key_usage().map_err(|e| e.to_string())?;
    if !ca || usage.is_some_and(|u| !u.value.key_cert_sign()) {
        return Err(format!("{name} may not sign certificates"));
    }
    match out_of_date(certificate, now) {
        Some(why) => Err(format!("{name} {why}")),
        None => Ok(()),
    }
}

/// The anchor above the last certificate of the chain.
fn anchor_of<'a, 'b>(
    last: &X509Certificate<'_>,
    anchors: &'a [X509Certificate<'b>],
    now: i64,
) -> Result<&'a X509Certificate<'b>, String> {
    let mut why = format!("{} is not signed by a trust anchor in ca.crt", last.subject());
    for anchor in anchors.iter().filter(|anchor| is_signed_by(last, anchor)) {
        match out_of_date(anchor, now) {
            None => return Ok(anchor),
            Some(date) => why = format!("its trust anchor {} {date}", anchor.subject()),
        }
    }
    Err(why)
}

fn is_signed_by(lower: &X509Certificate<'_>, upper: &X509Certificate<'_>) -> bool {
    lower.issuer().as_raw() == upper.subject().as_raw()
        && lower.verify_signature(Some(upper.public_key())).is_ok()
}

fn out_of_date(certificate: &X509Certificate<'_>, now: i64) -> Option<String> {
    let (from, to) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    match () {
        () if now < from => Some(format!("becomes valid only in {} s", from - now)),
        () if now > to => Some(format!("has expired {} s ago", now - to)),
        () => None,
    }
}
