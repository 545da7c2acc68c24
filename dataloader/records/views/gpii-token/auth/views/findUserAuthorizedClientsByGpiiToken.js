// The authorization server asks with a person's token: which clients may see which preferences?
// With include_docs=true the _id in the value brings the client's document.
function findUserAuthorizedClientsByGpiiToken(doc) {
    if ((doc.type === "onboardedSolutionAuthorization" || doc.type === "webPrefsConsumerAuthorization") &&
        doc.revoked === false) {
        emit(doc.gpiiToken, { _id: doc.clientId, selectedPreferences: doc.selectedPreferences });
    }
}
