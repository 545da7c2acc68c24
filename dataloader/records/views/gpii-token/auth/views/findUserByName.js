// The demonstration log-in page asks with the name a person typed, to compare the password.
// Only development users have a name. A card's user has none and stays out, so that no key leads to it.
function findUserByName(doc) {
    if (doc.type === "user" && doc.name) {
        emit(doc.name, doc);
    }
}
