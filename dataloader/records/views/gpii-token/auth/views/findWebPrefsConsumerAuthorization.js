// The authorization server asks with a person's token, a web client and the page to return to:
// did this person already let this client in? If so, they are not asked again.
function findWebPrefsConsumerAuthorization(doc) {
    if (doc.type === "webPrefsConsumerAuthorization" && doc.revoked === false) {
        emit([doc.gpiiToken, doc.clientId, doc.redirectUri], doc);
    }
}
