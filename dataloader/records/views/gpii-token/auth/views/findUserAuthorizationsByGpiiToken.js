// The privacy settings page asks with a person's token: every active grant that person gave.
// It is compared with findUserAuthorizableClients to show what is not granted yet.
function findUserAuthorizationsByGpiiToken(doc) {
    if ((doc.type === "onboardedSolutionAuthorization" || doc.type === "webPrefsConsumerAuthorization") &&
        doc.revoked === false) {
        emit(doc.gpiiToken, doc);
    }
}
