// The authorization server asks with the access token of an incoming request: what does it allow?
// With include_docs=true the _id in the value brings the credential it was given for.
function findInfoByAccessToken(doc) {
    var value;

    if (doc.type === "gpiiAppInstallationAuthorization" && doc.revoked === false) {
        value = { authorization: doc };
        if (doc.clientCredentialId) {
            value._id = doc.clientCredentialId;
        }
        emit(doc.accessToken, value);
    }
}
