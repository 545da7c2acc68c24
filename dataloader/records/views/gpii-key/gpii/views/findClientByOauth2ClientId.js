// The authorization server asks with the client_id a site's computer logs in with, to check its secret.
// With include_docs=true the _id in the value brings the client; a revoked credential is not found.
function findClientByOauth2ClientId(doc) {
    var value;

    if (doc.type === "clientCredential" && doc.revoked === false) {
        value = { clientCredential: doc };
        if (doc.clientId) {
            value._id = doc.clientId;
        }
        emit(doc.oauth2ClientId, value);
    }
}
