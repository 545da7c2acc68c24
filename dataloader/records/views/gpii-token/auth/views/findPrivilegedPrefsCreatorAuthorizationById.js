// The authorization server asks with the _id of a grant that lets a client create preference sets
// (the First Discovery tool, for one), before it revokes that grant. Revoked grants are here too.
function findPrivilegedPrefsCreatorAuthorizationById(doc) {
    if (doc.type === "privilegedPrefsCreatorAuthorization") {
        emit(doc._id, doc);
    }
}
