// The privacy settings page asks for all rows: the clients a person can give access to.
// The other types of client are for the system itself, and nobody is asked about them.
function findUserAuthorizableClients(doc) {
    if (doc.type === "onboardedSolutionClient" || doc.type === "webPrefsConsumerClient") {
        emit(doc._id, doc);
    }
}
