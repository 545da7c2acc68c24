// The authorization server asks with the code that a web client wants to trade for an access token.
// With include_docs=true the _id in the value brings the grant the code was issued for.
function findWebPrefsConsumerAuthorizationByAuthCode(doc) {
    if (doc.type === "authCode") {
        emit(doc.code, { _id: doc.authorizationId });
    }
}
