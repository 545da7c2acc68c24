// The authorization server asks with the client_id of an OAuth request, to check the client's secret
// and to learn which kind of client it is talking to. Onboarded solutions have no such ID and are not here.
function findClientByOauth2ClientId(doc) {
    if (doc.type === "gpiiAppInstallationClient" ||
        doc.type === "privilegedPrefsCreatorClient" ||
        doc.type === "webPrefsConsumerClient") {
        emit(doc.oauth2ClientId, doc);
    }
}
