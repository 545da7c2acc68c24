// The privacy settings page asks with the _id of a grant that a person wants to see, change or revoke.
// Revoked grants are here too: whether one is still active is for the server to say.
function findUserAuthorizedAuthorizationById(doc) {
    if (doc.type === "onboardedSolutionAuthorization" || doc.type === "webPrefsConsumerAuthorization") {
        emit(doc._id, doc);
    }
}
