// The authorization server asks with the _id of a client that wants to create preference sets:
// does it hold an active grant already? If so, it gets the same access token again.
function findPrivilegedPrefsCreatorAuthorizationByClientId(doc) {
    if (doc.type === "privilegedPrefsCreatorAuthorization" && doc.revoked === false) {
        emit(doc.clientId, doc);
    }
}
