// Maintenance asks for a range of times (milliseconds since 1970), to delete access tokens that have expired.
function findAccessTokenByExpires(doc) {
    if (doc.type === "gpiiAppInstallationAuthorization") {
        emit(Date.parse(doc.timestampExpires), doc);
    }
}
