// The authorization server asks with the access token of an incoming request: what does it allow?
// With include_docs=true the _id in the value includes the client's document with the grant.
function findAuthorizationByAccessToken(doc) {
    if ((doc.type === "gpiiAppInstallationAuthorization" ||
         doc.type === "privilegedPrefsCreatorAuthorization" ||
         doc.type === "webPrefsConsumerAuthorization") &&
        doc.revoked === false) {
        emit(doc.accessToken, { _id: doc.clientId, authorization: doc });
    }
}
